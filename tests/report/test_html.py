"""The page of a run: complete in itself, honest, safe, and usable in a real browser."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from html.parser import HTMLParser

import pytest
from chromium import browser
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.data import demo
from sycam.language import parse
from sycam.language.latex import to_latex
from sycam.networks import open_network
from sycam.problem.images import demo_images
from sycam.report.asked import command_of
from sycam.report.html import write_report
from sycam.report.html.mathematics import mathml

EVIL = '"><script>document.title="owned"</script>'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run, made by the command."""
    folder = tmp_path_factory.mktemp("report") / "run"
    command = ["synthesize", "--metric", "iou", "--budget", "12", "--max-cost", "2", "--quiet"]
    command += ["--search-images", "12", "--heldout-images", "8", "--out", str(folder)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder


def changed(run, tmp_path, change):
    """The page of the run with its record changed, without its pictures."""
    data = json.loads((run / "result.json").read_text())
    change(data)
    (tmp_path / "result.json").write_text(json.dumps(data))
    return write_report(sycam.load(tmp_path)).read_text()


class Parts(HTMLParser):
    """What a page loads, and its scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded, self.scripts, self.tags = [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data"):
                self.loaded.append(value)
            assert not name.startswith("on"), (tag, name)


def test_the_command_writes_a_page_that_loads_nothing(run, tmp_path):
    assert (run / "report.html").is_file()  # synthesize wrote one
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(run), "-o", str(out)])
    assert done.exit_code == 0
    assert str(out) in done.output.replace("\n", "")
    text, result = out.read_text(), sycam.load(run)
    parts = Parts(text)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in parts.loaded)
    assert parts.scripts == 1
    assert parts.tags.count("math") == 1
    for row in result.validation.rows:
        assert f"{row.heldout.mean:.4f}".replace("-", "−") in text
    for said in ("Sanity", "Certificate", "sycam verify", "sycam export", "Luque-Cerpa"):
        assert said in text


def test_the_picture_comes_first_then_verdict_leaderboard_and_formula(run):
    text, result = (run / "report.html").read_text(), sycam.load(run)
    sections = re.findall(r'<h2 id="([a-z]+)"', text)
    assert sections[:4] == ["gallery", "verdict", "leaderboard", "formula"]
    assert set(re.findall(r'href="#([a-z]+)"', text)) >= set(sections)
    board = text[text.index('class="board"') : text.index("</figure>", text.index('class="board"'))]
    means = [row.heldout.mean for row in result.validation.rows]
    shown = re.findall(r'<div class="([a-z]+)"><span class="name">([^<]*)</span>', board)
    assert len(shown) == len(means) + 1  # and the axis
    winner = next(i for i, (kind, _) in enumerate(shown) if kind == "winner")
    assert sorted(means, reverse=True)[winner] == result.validation.winner.heldout.mean
    assert board.count('r="8"') == 1  # the winner's ring
    places = [float(x) for x in re.findall(r'[x]="([0-9.]+)%"', board)]
    assert all(0 <= place <= 100 for place in places)


def test_the_page_says_its_data_and_a_command_for_the_same(run):
    result = sycam.load(run)
    text = unescape((run / "report.html").read_text())
    assert command_of(result.record) in text
    assert "12 of the embedded demo" in text
    assert str(open_network("demo").preprocessing) in text


def test_pictures_of_figures_take_the_colours_of_the_page(run):
    text = (run / "report.html").read_text()
    charts = re.findall(r'<div class="chart">(.*?</svg>)', text, re.DOTALL)
    assert charts
    for chart in charts:
        assert "var(--c0)" in chart
        assert "<style" not in chart
        assert set(re.findall("#[0-9a-f]{6}", chart)) <= {"#ffffff"}


def test_ranks_stand_with_their_test_and_those_that_do_not_differ(run):
    text, ranks = (run / "report.html").read_text(), sycam.load(run).ranks()
    drawn = text.partition('<div class="board ranks"')[2].partition("</figure>")[0]
    shown = re.findall('<span class="name">([^<]+)</span>', drawn)
    assert shown == [escape(n) for n in ranks.names if escape(n) in shown]
    assert len(shown) >= 3
    assert f"critical difference at 5 % is {ranks.critical_difference:.2f}" in drawn
    assert bool(ranks.cliques) == ('<line x1="4" x2="4"' in drawn)
    assert sycam.load(run).plot("ranks").figure.axes


def test_names_of_users_stay_text(run, tmp_path):
    def change(data):
        data["network"]["name"] = data["grammar"]["name"] = data["settings"]["target"] = EVIL
        data["network"]["class_names"] = [EVIL]
        data["validation"]["rows"][-1]["name"] = EVIL

    text = changed(run, tmp_path, change)
    assert Parts(text).scripts == 1
    assert "<script>document.title" not in text


@pytest.mark.parametrize(
    "latex",
    [r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\style{color:red}{x}",
     r"<img src=x onerror=alert(1)>", r"\frac{a", r"\class{a}{x}"],
)  # fmt: skip
def test_mathematics_holds_nothing_but_mathematics(latex):
    made = mathml(latex)
    tags = set(re.findall(r"<([a-z]+)", made))
    assert tags <= {"math", "mrow", "mi", "mo", "mn", "mtext", "mfrac", "code", "mstyle"}
    assert not re.search(r"<[^>]*(href|style=|class=|on\w+=)", made)


def test_a_layers_name_is_set_without_the_backslashes_of_latex():
    latex = to_latex(parse("cam[blocks.8._project_conv](mean(G))"))
    assert r"blocks.8.\_project\_conv" in latex
    assert "<mtext>blocks.8._project_conv</mtext>" in mathml(latex)


def test_a_run_that_loses_has_no_winner_or_no_rival_says_so(run, tmp_path):
    def loses(data):
        data["best"]["known_as"] = None  # a new formula
        for row in data["validation"]["rows"]:
            if row["against"] is not None:
                row["against"]["p_holm"] = 0.5

    def without_winner(data):
        data["best"] = None
        rows = data["validation"]["rows"]
        data["validation"]["rows"] = [r | {"against": None} for r in rows if r["kind"] != "winner"]

    def without_rival(data):
        data["best"]["known_as"] = None
        data["validation"].update(best_published=None, chosen_published=None)

    def ignores_the_class(data):
        winner = next(r for r in data["validation"]["rows"] if r["kind"] == "winner")
        winner["guards"]["class-sensitivity"] = 0.0

    assert "does not beat the best published CAM" in changed(run, tmp_path, loses)
    text = changed(run, tmp_path, without_winner)
    assert "No candidate may win" in text
    assert "<math" not in text
    text = changed(run, tmp_path, without_rival)
    assert "No published CAM was scored beside the winner" in text
    text = changed(run, tmp_path, ignores_the_class)
    assert "Do not trust it as an explanation" in text
    assert 'class="verdict good"' not in text
    # Pictures and curves that are not there are named.
    assert "keeps no pictures" in text
    assert "keeps no removal curves" in text


LOST_TABLES = """
[...document.querySelectorAll('table')].filter(table => {
  const box = table.closest('.scroll'), name = table.querySelector('tbody tr > :first-child');
  const within = box && box.getBoundingClientRect().right <= 400;
  box.scrollLeft = 10000;
  const stays = name.getBoundingClientRect().left >= box.getBoundingClientRect().left - 1;
  const opaque = !getComputedStyle(name).backgroundColor.endsWith(', 0)');
  return !(within && stays && opaque && (table.offsetWidth <= box.clientWidth || box.scrollLeft));
}).map(table => table.outerHTML.slice(0, 200))
"""


def test_in_a_browser(run, tmp_path):
    with browser(tmp_path / "profile") as page:
        page.width(390)
        page.open(run / "report.html")
        for width in (320, 390, 768, 1280):
            page.width(width)
            assert page.js("document.documentElement.scrollWidth - innerWidth") <= 0, width
            wide = "[...document.querySelectorAll('.panels, .chart, .key, .board')]"
            assert page.js(f"{wide}.length") >= 5
            assert page.js(f"{wide}.filter(e => e.scrollWidth > e.clientWidth).length") == 0, width
        for scheme in ("light", "dark"):
            scheme_is = [{"name": "prefers-color-scheme", "value": scheme}]
            page.do("Emulation.setEmulatedMedia", features=scheme_is)
            page.width(400)
            assert page.js("document.documentElement.scrollWidth") <= 400
            assert page.js("document.querySelectorAll('table').length") >= 4
            # Wide ones are scrolled in a box of their own, where names of rows stay in sight.
            assert page.js(LOST_TABLES) == [], scheme
        sorted_by = "document.querySelector('table.sortable thead').querySelectorAll('th')"
        page.js(f"{sorted_by}[2].querySelector('button').click()")
        assert page.js(f"{sorted_by}[2].getAttribute('aria-sort')") == "descending"
        column = (
            "[...document.querySelector('table.sortable').tBodies[0].rows]"
            ".map(r => Number(r.cells[2].dataset.value))"
        )
        shown = page.js(column)
        assert shown == sorted(shown, reverse=True)
        page.js(f"{sorted_by}[2].querySelector('button').focus()")
        page.press("Enter", 13, "\r")
        assert page.js(f"{sorted_by}[2].getAttribute('aria-sort')") == "ascending"
        assert page.js(column) == sorted(shown)
        seen = "getComputedStyle(document.querySelector('.of-{}')).display"
        assert page.js(seen.format("best")) == "block"
        page.js("document.getElementById('show-best').focus()")
        page.press("ArrowDown", 40)
        assert page.js(seen.format("typical")) == "block"
        assert page.js(seen.format("best")) == "none"
        page.js("document.querySelector('label[for=show-worst]').click()")
        assert page.js(seen.format("worst")) == "block"
        assert page.js("[...document.images].every(i => i.alt && i.naturalWidth > 0)")
        assert page.js("[...document.querySelectorAll('th')].every(t => t.scope)")
        ids = page.js("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        for landmark in ("header", "nav", "main", "footer", "h1"):
            assert page.js(f"document.querySelectorAll('{landmark}').length") == 1
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        assert [e for e in page.events if e["method"] in kinds] == []
        asked = [
            e["params"]["request"]["url"]
            for e in page.events
            if e["method"] == "Network.requestWillBeSent"
        ]
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


def test_a_notebook_shows_tables(run):
    result = sycam.load(run)
    shown = result._repr_html_()
    for row in result.validation.rows:
        assert escape(row.name) in shown
        assert f"{row.heldout.mean:.4f}" in shown
    images = demo_images("heldout", 4, 0)
    table = sycam.evaluate("demo", demo.LAYER, images, ["grad-cam", "relu(G)"], ["iou"])
    shown = table._repr_html_()
    assert f"{table.cells['relu(G)', 'iou'].mean:.4f}" in shown
    assert "iou ↑" in shown


def test_explain_draws_what_is_asked(run, tmp_path):
    command = ["explain", str(run), "--out", str(tmp_path), "--method", "layer-cam"]
    done = CliRunner().invoke(app, [*command, "--method", "relu(G) * A"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("*.png"))) == 6
    done = CliRunner().invoke(app, [*command[:-1], "layer-camm"])
    assert "did you mean 'layer-cam'" in str(done.exception)
