"""BibTeX of what a run rests on, from the papers that the tables of methods and metrics name."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from sycam.methods.method import BLURRED
from sycam.methods.published import METHODS
from sycam.metrics import METRICS
from sycam.runs.result import Result

SYNTHESIS = (
    "Alejandro Luque-Cerpa, Elizabeth Polgreen, Ajitha Rajan and Hazem Torfah, Metric-Guided "
    "Synthesis of Class Activation Mapping, arXiv:2504.09998, 2025"
)
_JOURNALS = (  # by their names or the initials that the tables use; all else are proceedings
    "Applied Sciences", "BMC Medical Imaging", "Computer Vision and Image Understanding", "CVIU",
    "Ecology", "IEEE Transactions on Image Processing", "IJCV", "Information Fusion",
    "Pattern Recognition Letters",
)  # fmt: skip
_PAPER = re.compile(
    r"(?P<authors>[^,:]+ et al\.|(?:[^,:]+, )*?[^,:]+ and [^,:]+|[^,:]+), (?P<title>.+?), "
    r"(?:(?P<venue>[^,]+?),? )?(?P<year>\d{4})"
)
_SUBMITTED = re.compile(r"(?P<title>.+), (?P<venue>submission to .+?) (?P<year>\d{4}), .+")
_ARXIV = re.compile(r"arXiv[: ](?P<number>\d{4}\.\d{4,5})")
_PARTICLES = ("de ", "van ", "von ")  # with which a surname begins that is given alone
_SKIPPED = ("a", "an", "the", "on", "how", "to")  # of a title, in a key


@dataclass(frozen=True)
class Reference:
    """A paper, or software where there is none.

    Attributes:
        authors: each as the tables name them; none where they are not named.
        title: of the paper, or the software with its version.
        venue: where it appeared; empty where that is not on record.
        year: empty of software.
        others: whether there are more authors.
    """

    authors: tuple[str, ...]
    title: str
    venue: str = ""
    year: str = ""
    others: bool = False

    @classmethod
    def parse(cls, text: str) -> Reference:
        """What :attr:`sycam.methods.Method.paper` or :attr:`sycam.metrics.Metric.source` says:
        authors, title, venue and year; or the software that it comes from."""
        said = re.sub(r" \([^)]*\)$", "", text.partition(";")[0])  # without remarks
        if found := _SUBMITTED.fullmatch(said):
            return cls((), found["title"], found["venue"], found["year"])
        if found := _PAPER.fullmatch(said):
            names, venue = found["authors"], found["venue"] or ""
            others = names.endswith(" et al.")
            authors = re.split(r", | and ", names.removesuffix(" et al."))
            return cls(tuple(authors), found["title"], venue, found["year"], others)
        return cls((), said)

    @property
    def key(self) -> str:
        """First author, year and first word of the title: ``zhou2016learning``."""
        words = [w for w in re.findall(r"[^\W_]+", _ascii(self.title)) if w not in _SKIPPED]
        first = _ascii(self.authors[0]).split()[-1] if self.authors else ""
        return re.sub(r"\W", "", f"{first}{self.year}") + words[0]

    @property
    def work(self) -> str:
        """The title without what two writings of it differ in."""
        return re.sub(r"\W", "", self.title.casefold())

    @property
    def bibtex(self) -> str:
        """The entry."""
        kind, fields = self._form()
        people = [f"{{{n}}}" if n.casefold().startswith(_PARTICLES) else n for n in self.authors]
        if self.others:
            people.append("others")
        entries = {"title": f"{{{self.title}}}", "author": " and ".join(people), **fields}
        entries["year"] = self.year
        lines = [f"  {name} = {{{_escaped(value)}}}," for name, value in entries.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])

    def _form(self) -> tuple[str, dict[str, str]]:
        """Kind of the entry, and the fields in which its venue is said."""
        if found := _ARXIV.fullmatch(self.venue):
            return "misc", {"eprint": found["number"], "archiveprefix": "arXiv"}
        journal, _, volume = self.venue.rpartition(" ")
        if journal in _JOURNALS and volume[:1].isdigit():
            number = re.fullmatch(r"(\d+)(?:\((\d+)\))?", volume)
            said = {"volume": number[1], "number": number[2] or ""} if number else {}
            return "article", {"journal": journal, **said}
        if self.venue in _JOURNALS:
            return "article", {"journal": self.venue}
        if not self.venue or self.venue.startswith("submission"):
            return "misc", {"note": self.venue}
        return "inproceedings", {"booktitle": self.venue}


def references() -> dict[str, Reference]:
    """The reference of each published method and metric, by ``"method NAME"`` or
    ``"metric NAME"``; of a work that several name, the one that names most of its authors."""
    texts = {f"method {m.name}": m.paper for m in METHODS.values() if m.paper}
    texts |= {f"metric {name}": metric.source for name, metric in METRICS.items() if metric.source}
    parsed = {name: Reference.parse(text) for name, text in texts.items()}
    fullest: dict[str, Reference] = {}
    for one in parsed.values():
        known = fullest.setdefault(one.work, one)
        if len(one.authors) > len(known.authors):
            fullest[one.work] = one
    return {name: fullest[one.work] for name, one in parsed.items()}


def citations(result: Result) -> str:
    """BibTeX of the paper on synthesis, and of the methods and metrics that a run used.

    Args:
        result: of the run. Nothing that it names is imported.
    """
    known = references()
    used: dict[str, list[str]] = {}  # work to what it is used for
    found = {Reference.parse(SYNTHESIS).work: Reference.parse(SYNTHESIS)}
    missing = []
    for what in [*_methods(result), *_metrics(result)]:
        if what not in known:
            missing.append(what)
            continue
        found[known[what].work] = known[what]
        used.setdefault(known[what].work, []).append(what)
    parts = [f"% what the run {result.path or ''} rests on, by sycam cite".replace("  ", " ")]
    for work, one in found.items():
        parts.append(f"% {', '.join(used.get(work, ['the search']))}\n{one.bibtex}")
    if missing:
        parts.append(f"% without a reference on record: {', '.join(missing)}")
    return "\n\n".join(parts) + "\n"


def _methods(result: Result) -> list[str]:
    """The methods of a run that come from a paper or from software."""
    names = [known.name for known in result.record.search.known]
    names += [row.name for row in result.validation.rows]
    plain = (name.partition("@")[0].removeprefix(f"{BLURRED}-") for name in names)
    return [f"method {n}" for n in dict.fromkeys(plain) if n in METHODS and METHODS[n].paper]


def _metrics(result: Result) -> list[str]:
    """The metrics of a run, those in formulas and requirements one by one."""
    validation, names = result.validation, []
    texts = [*result.record.settings.metrics, *result.record.required]
    texts += [name for row in validation.rows for name in (*row.panel, *row.guards)]
    for text in dict.fromkeys(texts):
        foreign = re.findall(r"[^\s*(]+\.py:\w+|quantus:\w+", text)
        for one in foreign:
            text = text.replace(one, " ")
        words = re.findall(r"[a-z][\w-]*", re.sub(r":[^\s,)]*", "", text))
        names += [*foreign, *(word for word in words if word in METRICS)]
    return [f"metric {name}" for name in dict.fromkeys(names)]


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))


def _escaped(text: str) -> str:
    return re.sub(r"([&%#$_])", r"\\\1", text)
