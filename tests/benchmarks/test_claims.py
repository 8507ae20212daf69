"""Pages of claims: their tables are what the benchmark measures, row by row."""

from __future__ import annotations

import re
import shutil

import pytest


@pytest.fixture
def claims(benchmark_file):
    return benchmark_file("claims")


@pytest.mark.parametrize("name", ["finer", "axioms", "counterfactual"])
def test_a_page_has_rows_of_every_setting(claims, name):
    claim = claims.CLAIMS[name]
    text = (claims.PAGES / claim.page).read_text(encoding="utf-8")
    rows = claims.rows_of(text)
    assert all(len(row) == len(claim.head) for row in rows)
    assert list(dict.fromkeys(row[0] for row in rows)) == [
        claims.SETTINGS[setting].said for setting in claim.settings
    ]


def test_rows_are_exchanged_by_setting(claims, tmp_path):
    claim = claims.CLAIMS["axioms"]
    shutil.copy(claims.PAGES / claim.page, tmp_path)
    page = tmp_path / claim.page
    before = page.read_text(encoding="utf-8")
    old = claims.rows_of(before)
    said = claims.SETTINGS["resnet20-fc"].said
    claims.write(claim, [(said, "3", "new", "1", "2")], tmp_path)
    after = page.read_text(encoding="utf-8")
    assert claims.rows_of(after) == [
        *(row for row in old if row[0] == claims.SETTINGS["demo"].said),
        (said, "3", "new", "1", "2"),
        *(row for row in old if row[0] not in (claims.SETTINGS["demo"].said, said)),
    ]
    assert after.partition(claims.BEGIN)[0] == before.partition(claims.BEGIN)[0]
    assert after.partition(claims.END)[2] == before.partition(claims.END)[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finer", "axioms"])
def test_the_rows_of_the_demo_are_measured_again(claims, name):
    claim, setting = claims.CLAIMS[name], claims.SETTINGS["demo"]
    options = claims.make_parser().parse_args([])
    text = (claims.PAGES / claim.page).read_text(encoding="utf-8")
    told = {row[2]: row for row in claims.rows_of(text) if row[0] == setting.said}
    found = {row[2]: row for row in claim.measure(setting, setting.images(setting.count), options)}
    assert told.keys() == found.keys()
    number = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
    for method, row in found.items():
        for cell, other in zip(row[3:], told[method][3:], strict=True):
            values, kept = (list(map(float, number.findall(text))) for text in (cell, other))
            assert values == pytest.approx(kept, rel=0.02, abs=0.005), method
