"""Tables with formulas read well at any width: nothing is cut but formulas, between names."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sycam.report.formula_table import FormulaTable, wrapped
from sycam.report.plain_table import plain_table

LONG = "smooth(cam[features.5](symlog(G))) + smooth(cam[features.12](normalize(relu(G)) * max(A)))"
NAMES = set(re.findall(r"[\w.]+", LONG))


def printed(width: int, first: bool) -> list[str]:
    table = plain_table(title="Title")
    for title in ("held-out [95 %]", "p"):
        table.add_column(title, justify="right")
    listed = FormulaTable(table, "formula", first=first)
    listed.add_row(LONG, r"0.4123 \[0.401, 0.423]", "0.010", mark="winner", style="bold green")
    listed.add_row("grad-cam-elementwise", r"0.3123 \[0.301, 0.323]", "< 0.001")
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(listed)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_a_table_keeps_to_the_console_and_cuts_no_figure_and_no_name(width, first):
    lines = printed(width, first)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in ("0.4123 [0.401, 0.423]", "< 0.001", "grad-cam-elementwise", "winner"):
        assert cell in text
    assert set(re.findall(r"[a-z][\w.]*", "".join(lines[3:4]))) <= NAMES | {"winner"}
    # In full in its row, or below.
    assert LONG.replace(" ", "") in re.sub(r"\s", "", text)
    assert ("…" in text) is (width < 140)


@pytest.mark.parametrize("width", [60, 80])
def test_rows_at_several_layers_remain_distinct(width):
    """All rows of a method read ``blurred-layer-cam@…``."""
    table = plain_table()
    for title in ("search", "held-out [95 %]", "Δ", "p", "flat"):
        table.add_column(title, justify="right")
    listed = FormulaTable(table, "method", first=True)
    layers = [f"features.denseblock{i}.denselayer{j}" for i in (3, 4) for j in (15, 16)]
    for layer in layers:
        for method in ("blurred-layer-cam", "blurred-grad-cam++", "layer-cam"):
            cells = ("0.4123", r"0.4123 \[0.401, 0.423]", "+0.1234", "< 0.001", "0")
            kind = "blurred" if method.startswith("blurred") else "published"
            listed.add_row(f"{method}@{layer}", *cells, mark=kind)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(listed)
    lines = [line for line in console.file.getvalue().splitlines() if "0.4123" in line]
    rows = [tuple(line.split()[:2]) for line in lines]  # the name and its kind
    assert len(set(rows)) == 3 * len(layers)
    names = [name for name, _ in rows]
    assert all(("…" in row and row[-2:] in ("15", "16")) or "…1" in row for row in names)


def test_a_name_does_not_say_again_what_its_kind_says_where_there_is_no_room():
    """``blurred-hirescam@bn4_relu blurred`` read ``blurre…1am``."""
    for width, shown in ((80, "hirescam@bn4_relu blurred"), (140, "blurred-hirescam@bn4_relu ")):
        table = plain_table()
        for title in ("search", "held-out [95 %]", "Δ", "p"):
            table.add_column(title, justify="right")
        listed = FormulaTable(table, "method", first=True)
        for name, kind in (("blurred-hirescam@bn4_relu", "blurred"), ("hirescam@bn4_relu", "")):
            cells = ("0.4123", r"0.4123 \[0.401, 0.423]", "+0.1234", "0.001")
            listed.add_row(name, *cells, mark=kind)
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(listed)
        text = console.file.getvalue()
        assert shown in text
        assert "…" not in text
        assert "=" not in text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_lines_end_between_names(width):
    lines = wrapped(f"Winner   {LONG}", width, "         ")
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", f"Winner{LONG}")
    assert {name for line in lines for name in re.findall(r"[\w.]+", line)} == NAMES | {"Winner"}


@pytest.mark.parametrize("width", [60, 80])
def test_a_formula_that_fits_into_a_line_is_not_broken(width):
    formula = "cam[features](sum(relu(G) / (2 + sum(A) * G)))"
    text = f"Images   8 search images cannot tell {formula} from 5 of its 5 next rivals ({formula})"
    lines = wrapped(text, width, "         ")
    assert max(map(len, lines)) <= width
    assert sum(formula in line for line in lines) == 2


@pytest.mark.parametrize("width", [50, 60, 80])
@pytest.mark.parametrize("count", [1, 5, 12])
def test_no_figure_is_cut_however_many_columns_there_are(width, count):
    names = ["energy-pointing-game", "road:imputer=blur", "class-sensitivity", "iou"]
    table = plain_table("Title", "what the columns are")
    for place in range(count):
        table.add_column(f"{names[place % 4]} ↑", justify="right")
    listed = FormulaTable(table, "method", first=True)
    for row in range(3):
        cells = [f"0.{place:02}{row}1" for place in range(count)]
        listed.add_row(f"{LONG} * {row}", *cells, mark="winner" if row == 0 else "")
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(listed)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for place in range(count):
        assert all(f"0.{place:02}{row}1" in text for row in range(3))
    assert (text.count("Title"), text.count("what the columns are")) == (1, 1)
    for words in ("pointing-game ↑", "sensitivity ↑")[: count // 2]:
        assert words in text
    assert FormulaTable.of(listed.plain).plain == listed.plain
