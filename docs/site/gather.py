"""Gathers what the documentation site is built from in one folder; needs no torch.

    python docs/site/gather.py [--out build/site]

The pages are those that are read in the repository. Here their links are turned to where the site
has them, formulas become MathML, notebooks become pages, and files that pages link to are copied.
Zensical then checks every link and every anchor.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import sys
import tomllib
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from pathlib import Path

from latex2mathml.converter import convert

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
ELSEWHERE = {  # pages that stand outside docs/ in the repository, or are called otherwise here
    "README.md": "index.md",
    "docs/README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "results.md",
    "examples/README.md": "examples.md",
}
CODE = re.compile(r"(^```.*?^```$|`(?:[^`\n]|\n(?!\n))+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
DISPLAYED = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)


class SiteError(Exception):
    """The site cannot be built from what there is; the message says what to write."""


def pages() -> dict[Path, Path]:
    """Every page: its file in the repository to its place on the site."""
    found = {ROOT / source: Path(place) for source, place in ELSEWHERE.items()}
    for page in sorted(DOCS.rglob("*.md")):
        found.setdefault(page, page.relative_to(DOCS))
    for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
        found[notebook] = Path("notebooks", notebook.stem + ".md")
    return found


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text, changed everywhere but in code."""
    parts = CODE.split(text)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def turn_links(text: str, source: Path, places: dict[Path, Path], copy: dict[Path, Path]) -> str:
    """The page with links as the site has them.

    Args:
        text: of the page.
        source: the page's file in the repository.
        places: see :func:`pages`.
        copy: files that are no pages to their places; those that the page links to are added.

    Raises:
        SiteError: where a link leads nowhere, or to a folder.
    """
    here = places[source].parent

    def turned(found: re.Match[str]) -> str:
        target, mark, anchor = found[1].partition("#")
        if not target or re.match(r"\w+:", target):
            return found[0]
        file = (source.parent / target).resolve()
        if not file.is_file():
            raise SiteError(f"{source.relative_to(ROOT)} links to {target}, which is no file")
        if file not in places:
            copy[file] = Path("files", file.relative_to(ROOT))
        place = places.get(file) or copy[file]
        return f"]({Path(os.path.relpath(place, here)).as_posix()}{mark}{anchor})"

    # Code may stand in the text of a link, but its target is never code.
    return outside_code(text, lambda part: LINK.sub(turned, part))


def with_mathml(text: str) -> str:
    """Displayed formulas as MathML, which browsers set without a script."""

    def formula(found: re.Match[str]) -> str:
        return f"\n{convert(found[1], display='block')}\n"

    return outside_code(text, lambda part: DISPLAYED.sub(formula, part))


def notebook_page(notebook: Path, folder: Path) -> str:
    """A notebook as a page: texts, code, and what was printed and drawn.

    Args:
        notebook: the ``.ipynb`` file.
        folder: where its pictures are written.
    """
    parts = []
    pictures = 0
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for kind, content in _shown(cell["outputs"]):
            if kind == "image/png":
                pictures += 1
                name = f"{notebook.stem}_{pictures}.png"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(a2b_base64(content))
                # Not as a link of Markdown: the file is no part of the repository.
                parts.append(f'<img src="{name}" alt="What the code above draws">')
            else:
                printed = f"```text\n{content.rstrip()}\n```"
                parts.append(f'<div class="notebook-output" markdown>\n\n{printed}\n\n</div>')
    return "\n\n".join(parts) + "\n"


def _shown(outputs: list[dict]) -> Iterator[tuple[str, str]]:
    """Of each output the picture, if it has one, else the text."""
    for output in outputs:
        data = output.get("data", {"text/plain": output.get("text", "")})
        kind = "image/png" if "image/png" in data else "text/plain"
        content = "".join(data.get(kind, ""))
        if content.strip():
            yield kind, content


def in_navigation(entries: list) -> Iterator[str]:
    """The pages that the site's navigation names."""
    for entry in entries:
        for inside in entry.values():
            yield from [inside] if isinstance(inside, str) else in_navigation(inside)


def check_navigation(places: dict[Path, Path]) -> None:
    """Every page stands in the navigation, once.

    Raises:
        SiteError: naming the pages that do not, and entries without a page.
    """
    settings = tomllib.loads((HERE / "zensical.toml").read_text(encoding="utf-8"))
    named = sorted(in_navigation(settings["project"]["nav"]))
    there = sorted(place.as_posix() for place in places.values())
    if named != there:
        missing, unknown = sorted(set(there) - set(named)), sorted(set(named) - set(there))
        raise SiteError(
            "the navigation in docs/site/zensical.toml must name every page once; "
            f"missing: {', '.join(missing) or 'none'}; "
            f"without a page: {', '.join(unknown) or 'none'}"
        )


def check_reference() -> None:
    """Every public name of the package stands in the API reference.

    Raises:
        SiteError: naming those that do not.
    """
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("api/*.md"))
    documented = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    for package in ("sycam", "sycam.applications"):
        stub = ROOT.joinpath(*package.split("."), "__init__.pyi").read_text(encoding="utf-8")
        public = ast.literal_eval(re.search(r"^__all__ = (\[.*?\])", stub, re.M | re.S)[1])
        inside = {f"{package}.{name}" for name in public if not name.startswith("__")}
        covered = {name for name in inside if any(d.startswith(name) for d in documented)}
        mended = {"sycam.SycamError"} & inside  # stands with the errors, under sycam.errors
        missing = sorted(inside - covered - mended)
        if missing:
            raise SiteError(f"docs/api/ has no line '::: NAME' for {', '.join(missing)}")


def gather(out: Path) -> Path:
    """Writes ``out/pages`` and ``out/zensical.toml``.

    Raises:
        SiteError: where a page, a public name or the target of a link is missing.
    """
    places = pages()
    check_navigation(places)
    check_reference()
    folder = out / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    copies: dict[Path, Path] = {HERE / "site.css": Path("site.css")}
    for source, place in places.items():
        goal = folder / place
        goal.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".ipynb":
            text = notebook_page(source, goal.parent)
        else:
            text = source.read_text(encoding="utf-8")
        text = with_mathml(turn_links(text, source, places, copies))
        goal.write_text(text, encoding="utf-8")
    for source, place in copies.items():
        goal = folder / place
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, goal)
    shutil.copyfile(HERE / "zensical.toml", out / "zensical.toml")
    return out / "zensical.toml"


def main(arguments: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    try:
        return gather(parser.parse_args(arguments).out)
    except SiteError as error:
        sys.exit(f"docs/site/gather.py: {error}")


if __name__ == "__main__":
    main()
