"""The site has every page and every public name, and its links lead to where it has them.

Whether each link and anchor of the built site leads somewhere is checked by ``make docs``.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"


def opened(name: str) -> ModuleType:
    """A script of the site's folder, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gather = opened("gather")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder with the site's pages, as they are built from."""
    return gather.gather(tmp_path_factory.mktemp("site")).parent / "pages"


def test_links_of_every_page_lead_to_a_file_of_the_site(site):
    pages = sorted(site.rglob("*.md"))
    assert len(pages) > 40
    for page in pages:
        text = gather.CODE.sub("", page.read_text(encoding="utf-8"))
        for link in re.findall(r'(?<=\]\()[^)\s]+|(?<=src=")[^"]+', text):
            file = link.partition("#")[0]
            assert "://" in link or not file or (page.parent / file).is_file(), (page, link)


def test_formulas_of_metrics_and_methods_need_no_script(site):
    for name, least in (("metrics.md", 20), ("methods.md", 30)):
        text = (site / name).read_text(encoding="utf-8")
        assert text.count('<math xmlns="http://www.w3.org/1998/Math/MathML"') >= least
        assert "$$" not in text


def test_a_page_outside_the_navigation_is_named():
    places = gather.pages() | {ROOT / "docs" / "new.md": Path("new.md")}
    with pytest.raises(gather.SiteError, match=r"missing: new\.md; without a page: none"):
        gather.check_navigation(places)


def test_a_public_name_outside_the_reference_is_named(tmp_path, monkeypatch):
    pages = {page.name: page.read_text(encoding="utf-8") for page in ROOT.glob("docs/api/*.md")}
    (tmp_path / "api").mkdir()
    for name, text in pages.items():
        (tmp_path / "api" / name).write_text(text.replace("::: sycam.verify\n", ""), "utf-8")
    monkeypatch.setattr(gather, "DOCS", tmp_path)
    with pytest.raises(gather.SiteError, match=r"for sycam\.verify$"):
        gather.check_reference()


def test_a_link_to_nothing_is_named():
    places, page = gather.pages(), ROOT / "docs" / "start.md"
    with pytest.raises(gather.SiteError, match=r"docs/start\.md links to gone\.md"):
        gather.turn_links("see [this](gone.md)", page, places, {})


def test_links_are_turned_but_code_is_not():
    copies: dict[Path, Path] = {}
    text = "`cam[a](G)`, [race](../sycam/search/racing/race.py), [`all`](../CHANGELOG.md#0) [x](#y)"
    turned = gather.turn_links(text, ROOT / "docs" / "search.md", gather.pages(), copies)
    assert turned == (
        "`cam[a](G)`, [race](files/sycam/search/racing/race.py), [`all`](changelog.md#0) [x](#y)"
    )
    assert list(copies.values()) == [Path("files/sycam/search/racing/race.py")]


def test_a_notebook_is_a_page_with_texts_code_prints_and_pictures(tmp_path):
    outputs = [
        {"output_type": "stream", "text": ["printed\n"]},
        {"output_type": "display_data", "data": {"image/png": "aGVhdA==\n", "text/plain": ["<F>"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["draw()"], "outputs": outputs},
    ]
    notebook = tmp_path / "small.ipynb"
    notebook.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    page = gather.notebook_page(notebook, tmp_path / "pages")
    wanted = ("# Title\ntext", "```python\ndraw()\n```", "```text\nprinted\n```", "small_1.png")
    assert [part in page for part in wanted] == [True] * len(wanted)
    assert "<F>" not in page
    assert (tmp_path / "pages" / "small_1.png").read_bytes() == b"heat"
