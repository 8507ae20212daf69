"""The map of the repository names what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "docs" / "developer" / "layout.md"
NAMED = set(re.findall(r"`((?:\w+/)+(?:[\w.]+)?)`", MAP.read_text(encoding="utf-8")))


def test_every_folder_with_python_files_is_on_the_map():
    folders = {file.parent for file in (ROOT / "sycam").rglob("*.py")}
    assert {f"{folder.relative_to(ROOT)}/" for folder in folders} - NAMED == set()


def test_every_path_on_the_map_exists():
    assert len(NAMED) > 40
    assert {name for name in NAMED if not (ROOT / name).exists()} == set()


def test_links_of_the_pages_for_developers_lead_somewhere():
    pages = [ROOT / "CONTRIBUTING.md", *MAP.parent.glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
