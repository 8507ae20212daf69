"""BibTeX of a run: every method and metric that comes from a paper has an entry."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.methods import METHODS
from sycam.methods.method import BASELINE, PUBLISHED
from sycam.metrics import METRICS
from sycam.report.citations import SYNTHESIS, Reference, citations, references

ROOT = Path(__file__).resolve().parents[2]
SOFTWARE = re.compile(r"pytorch-grad-cam|TorchCAM|MONAI|xplique")


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("cited") / "run"
    assert small_run(folder, pictures=False).exit_code == 0
    return folder


def entries(text):
    """Kind, key and fields of each entry."""
    found = re.findall(r"^@(\w+)\{([^,\s]+),\n((?:  .*\n)*)\}$", text, re.MULTILINE)
    fields = [dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE)) for *_, body in found]
    return {key: (kind, one) for (kind, key, _), one in zip(found, fields, strict=True)}


def _is_shipped(metric):
    room = metric.__module__
    return room.startswith("sycam.metrics.") and not room.startswith("sycam.metrics.adapters.")


def test_every_published_method_and_metric_has_an_entry():
    known = references()
    methods = [m for m in METHODS.values() if m.kind in (PUBLISHED, BASELINE)]
    # Not those that other tests declare or take from Quantus and torchmetrics.
    shipped = [name for name, kind in METRICS.items() if _is_shipped(kind)]
    assert len(shipped) > 20
    for what in [*(f"method {m.name}" for m in methods), *(f"metric {name}" for name in shipped)]:
        reference = known[what]
        ((kind, fields),) = entries(reference.bibtex).values()
        assert fields["title"].startswith("{"), what
        if SOFTWARE.match(reference.title):
            assert kind == "misc", what
            continue
        assert re.fullmatch(r"\d{4}", fields["year"]), what
        assert fields.get("author") or fields["note"].startswith("submission"), what
        assert "," not in fields.get("author", ""), what
        where = fields.keys() & {"booktitle", "journal", "eprint", "note"}
        assert len(where) == 1 or "noise robustness" in reference.title.casefold(), what


def test_a_work_has_one_key_and_a_key_one_work():
    known = references().values()
    works = {one.key: one.work for one in known}
    assert len(works) == len({one.work for one in known})
    assert all(works[one.key] == one.work for one in known)


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        (METHODS["cam"].paper, "inproceedings",
         {"author": "Zhou and Khosla and Lapedriza and Oliva and Torralba", "booktitle": "CVPR",
          "title": "{Learning Deep Features for Discriminative Localization}", "year": "2016"}),
        (METHODS["layer-cam"].paper, "article",
         {"author": "Jiang and Zhang and Hou and Cheng and Wei", "volume": "30", "year": "2021",
          "journal": "IEEE Transactions on Image Processing",
          "title": "{LayerCAM: Exploring Hierarchical Class Activation Maps for Localization}"}),
        (METRICS["dice"].source, "article",
         {"author": "Dice", "journal": "Ecology", "year": "1945", "title": "{Measures of the "
          "Amount of Ecologic Association Between Species}"}),
        (METRICS["top-k-drop"].source, "inproceedings",
         {"author": "DeYoung and others", "booktitle": "ACL", "year": "2020",
          "title": "{ERASER: A Benchmark to Evaluate Rationalized NLP Models}"}),
        (METHODS["poly-cam"].paper, "inproceedings",
         {"author": "Englebert and Cornu and {De Vleeschouwer}", "booktitle": "ICPR",
          "title": "{Poly-CAM: High resolution class activation map for convolutional neural "
          "networks}", "year": "2022"}),
    ],
)  # fmt: skip
def test_authors_title_and_venue_are_told_apart(text, kind, fields):
    ((found, said),) = entries(Reference.parse(text).bibtex).values()
    assert (found, said) == (kind, fields)


def test_the_paper_on_synthesis_is_that_of_the_citation_file():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    reference = Reference.parse(SYNTHESIS)
    assert reference.title == cited["title"]
    assert reference.year == str(cited["year"])
    assert reference.venue == cited["identifiers"][0]["value"]
    people = [f"{one['given-names']} {one['family-names']}" for one in cited["authors"]]
    assert list(reference.authors) == people


def test_a_run_cites_what_it_used(run, tmp_path):
    done = CliRunner().invoke(app, ["cite", str(run)])
    assert done.exit_code == 0, done.exception
    cited = entries(done.output)
    assert next(iter(cited)) == "luquecerpa2025metric"
    # Methods beside the search, its metric, the panel and the guards.
    for key in ("selvaraju2017grad", "jiang2021layercam", "chattopadhay2018grad",
                "rong2022consistent", "petsiuk2018rise", "adebayo2018sanity"):  # fmt: skip
        assert key in cited
    assert "zhou2016learning" not in cited  # this network has no head that CAM needs
    assert "% method grad-cam++, metric average-drop" in done.output
    written = CliRunner().invoke(app, ["cite", str(run), "-o", str(tmp_path / "a.bib")])
    assert written.exit_code == 0
    assert (tmp_path / "a.bib").read_text(encoding="utf-8") == done.output


def test_formulas_are_taken_apart_and_files_are_not_run(run, tmp_path):
    data = json.loads((run / "result.json").read_text())
    data["settings"]["metrics"] = [
        "0.5*iou + 0.5*mine.py:dice",
        "road:imputer=blur",
        "quantus:Focus",
    ]
    data["required"] = ["max-sensitivity<0.5"]
    (tmp_path / "result.json").write_text(json.dumps(data))
    text = citations(sycam.load(tmp_path))
    assert {"everingham2010pascal", "rong2022consistent"} <= entries(text).keys()
    assert "dice1945measures" not in entries(text)
    assert "% metric max-sensitivity\n" in text
    assert "% without a reference on record: metric mine.py:dice, metric quantus:Focus" in text
