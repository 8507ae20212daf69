"""Which selection rule finds the formula that is best on images it has not seen.

    python benchmarks/selection.py [--cache FOLDER] [--splits 100] [--out FOLDER]

On the tables of ``score_tables.py``: of the images of a table so many are drawn to search on, each
rule chooses among all formulas by their scores there, and the others say what the choice is worth.
Its *gain* is its mean on these minus that of the published CAM or baseline that the same search
images would choose; the oracle's is the gain of the formula that is best on the held-out images
themselves, which nobody can reach. Formulas that score as a published method on every image are
left out, as a search refuses them. A size is used where at least 30 images are left.

Two more figures are of the default rule. *Warned*: on how many splits it says that the search
images cannot tell the winner from its next rivals, and how often one of those rivals is ahead on
the held-out images where it warns and where it does not. *False lead*: how often the winner is
significantly ahead of that published method (sign flips, p < 0.05, before Holm's correction, which
only makes it rarer) where no formula is better: each formula's lead is made 0 on the images
searched and on the others, by subtracting its mean, and both are drawn again, with replacement.

Intervals are 95 % over the splits. These are drawn from one set of images, so that they say how
well the figure for this set is known, not how it would be on other images of its kind.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from score_tables import SETTINGS, Table, default_cache, table

from sycam.language import Expression
from sycam.metrics import find_metric
from sycam.scoring.scorer import Score
from sycam.scoring.statistics import sign_flip_p
from sycam.search.selection.bootstrap import resampled
from sycam.search.selection.power import UNDECIDED, power
from sycam.search.selection.rules import RULES, ordering
from sycam.search.selection.select import Candidate

SIZES = (25, 50, 100, 200)
LEFT = 30  # held-out images, at least
SAME = 1e-6  # scores that differ by no more are those of the same heatmaps
CURSED = 10  # splits on which the optimism is estimated
WARNED = 30  # splits on which the warning is looked at
FALSE = 400  # splits on which false leads are counted
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Trial:
    """One table at one number of search images; arrays are ``[splits]``, means on held-out images.

    Attributes:
        name: of the table.
        size: number of search images.
        left: number of held-out images.
        formulas: how many to choose among.
        published: of the published method chosen on the search images.
        oracle: of the formula that is best on the held-out images.
        chosen: of each rule's choice.
        promised: the same on the search images.
        optimism: of each rule, as the search images themselves estimate it; on some splits.
        seconds: for one choice, of each rule.
        warned: ``[w,2]`` bool, of some splits: whether the default rule's winner came with a
            warning, and whether a rival that it was compared with is ahead on held-out images.
        false_leads: share of splits on which a winner that is no better is significantly ahead.
    """

    name: str
    size: int
    left: int
    formulas: int
    published: np.ndarray
    oracle: np.ndarray
    chosen: dict[str, np.ndarray]
    promised: dict[str, np.ndarray]
    optimism: dict[str, np.ndarray]
    seconds: dict[str, float]
    warned: np.ndarray
    false_leads: float

    def gain(self, rule: str) -> np.ndarray:
        """``[splits]`` of the rule's choice over the published method's."""
        return self.chosen[rule] - self.published

    @property
    def room(self) -> float:
        """The oracle's mean gain."""
        return float((self.oracle - self.published).mean())


def trial(name: str, found: Table, size: int, splits: int) -> Trial:
    """Every rule on the same random splits of a table."""
    kept, scores = contestants(found)
    costs = np.array([e.cost for e in kept])
    total = scores.shape[1]
    published, oracle = np.empty((2, splits))
    chosen, promised = ({rule: np.empty(splits) for rule in RULES} for _ in range(2))
    optimism, spent = (
        {rule: np.empty(min(CURSED, splits)) for rule in RULES},
        dict.fromkeys(RULES, 0.0),
    )
    for split in range(splits):
        shuffled = np.random.default_rng((split, size)).permutation(total)
        seen, unseen = shuffled[:size], shuffled[size:]
        searched = np.ascontiguousarray(scores[:, seen])
        heldout = scores[:, unseen].mean(1)
        best = found.published_scores[:, seen].mean(1).argmax()
        published[split] = found.published_scores[best, unseen].mean()
        oracle[split] = heldout.max()
        for rule in RULES:
            started = time.perf_counter()
            first = ordering(searched, costs, rule)[0]
            spent[rule] += time.perf_counter() - started
            chosen[rule][split] = heldout[first]
            promised[rule][split] = searched[first].mean()
            if split < CURSED:
                optimism[rule][split] = resampled(searched, costs, rule, resamples=200).optimism
    return Trial(
        name=name,
        size=size,
        left=total - size,
        formulas=len(kept),
        published=published,
        oracle=oracle,
        chosen=chosen,
        promised=promised,
        optimism=optimism,
        seconds={rule: whole / splits for rule, whole in spent.items()},
        warned=warnings(kept, scores, size, min(WARNED, splits)),
        false_leads=false_leads(found, size, min(FALSE, 10 * splits)),
    )


def contestants(found: Table) -> tuple[list[Expression], np.ndarray]:
    """The formulas that no published method is, in the language's own order, and their scores."""
    fresh = ~disguised(found)
    pairs = [
        (e, row) for e, row, use in zip(found.expressions, found.scores, fresh, strict=True) if use
    ]
    pairs.sort(key=lambda pair: pair[0].sort_key())
    return [e for e, _ in pairs], np.stack([row for _, row in pairs])


def warnings(kept: Sequence[Expression], scores: np.ndarray, size: int, splits: int) -> np.ndarray:
    """``[splits,2]`` bool: the search images cannot tell the winner from its next rivals, as the
    result of a search says; and one of these, or where all are told apart of all, is ahead of it on
    the held-out images."""
    metric = find_metric("iou")  # any whose figure is a mean, and which is better when higher
    costs, told = np.array([e.cost for e in kept]), np.zeros((splits, 2), bool)
    number = {str(e): i for i, e in enumerate(kept)}
    for split in range(splits):
        shuffled = np.random.default_rng((split, size)).permutation(scores.shape[1])
        searched, heldout = scores[:, shuffled[:size]], scores[:, shuffled[size:]].mean(1)
        candidates = [
            Candidate(str(e), "expression", e, Score.of(metric, row, 0, True))
            for e, row in zip(kept, searched, strict=True)
        ]
        first = ordering(searched, costs)[0]
        said = power(candidates, metric, candidates[first], lambda _: False)
        undecided = [r for r in said.rivals if r.verdict == UNDECIDED]
        ahead = [heldout[number[r.expression]] > heldout[first] for r in undecided or said.rivals]
        told[split] = bool(said.warning), any(ahead)
    return told


def false_leads(found: Table, size: int, splits: int) -> float:
    """Share of splits on which the default rule's winner is significantly ahead of the published
    method that the search images choose, although no formula differs from it in the mean."""
    kept, scores = contestants(found)
    costs, total, false = np.array([e.cost for e in kept]), scores.shape[1], 0
    for split in range(splits):
        rng = np.random.default_rng((split, size, 1))
        shuffled = rng.permutation(total)
        seen, unseen = (rng.choice(part, len(part)) for part in (shuffled[:size], shuffled[size:]))
        reference = found.published_scores[found.published_scores[:, seen].mean(1).argmax()]
        leads = scores - reference
        searched = leads[:, seen] - leads[:, shuffled[:size]].mean(1, keepdims=True)
        first = ordering(searched + reference[seen], costs)[0]
        lead = leads[first, unseen] - leads[first, shuffled[size:]].mean()
        false += lead.mean() > 0 and sign_flip_p(lead, split) < SIGNIFICANT
    return false / splits


def disguised(found: Table) -> np.ndarray:
    """``[C]`` bool: a formula that scores as a published method on every image."""
    same = np.zeros(len(found.scores), bool)
    for reference in found.published_scores:
        same |= np.abs(found.scores - reference).max(1) <= SAME
    return same


def interval(values: np.ndarray) -> str:
    """Mean and 95 % interval of the mean, in thousandths."""
    error = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{values.mean() * 1e3:.1f} ± {error * 1e3:.1f}"


def ranks(trials: Sequence[Trial]) -> dict[str, np.ndarray]:
    """``[trials]`` each rule's rank by mean gain, 1 is best."""
    gains = np.array([[t.gain(rule).mean() for rule in RULES] for t in trials])
    placed = stats.rankdata(-gains.round(9), axis=1)
    return {rule: placed[:, i] for i, rule in enumerate(RULES)}


def markdown(trials: Sequence[Trial], splits: int) -> str:
    """The tables for ``RESULTS.md``."""
    lines = [
        f"Gain in thousandths of the metric; mean over {splits} splits, ± half the 95 % interval.",
        "",
        "| table | formulas | search + held-out | oracle | " + " | ".join(RULES) + " |",
        "|---|---|---|---|" + "---|" * len(RULES),
    ]
    for t in trials:
        best = max(RULES, key=lambda rule: t.gain(rule).mean())
        cells = [
            f"**{interval(t.gain(rule))}**" if rule == best else interval(t.gain(rule))
            for rule in RULES
        ]
        lines.append(
            f"| {t.name} | {t.formulas} | {t.size} + {t.left} | {t.room * 1e3:.1f} | "
            + " | ".join(cells)
            + " |"
        )
    lines += ["", "| over all rows | " + " | ".join(RULES) + " |", "|---|" + "---|" * len(RULES)]
    placed = ranks(trials)
    groups = {"mean rank": trials} | {
        f"mean rank at {size} search images": [t for t in trials if t.size == size]
        for size in SIZES
    }
    for said, group in groups.items():
        if group:
            placed = ranks(group)
            lines.append(f"| {said} ({len(group)} rows) | " + " | ".join(
                f"{placed[rule].mean():.2f}" for rule in RULES) + " |")  # fmt: skip
    for said, figure in (
        ("rows with a gain over the published method", lambda t, r: t.gain(r).mean() > 0),
        ("mean share of the oracle's gain", lambda t, r: t.gain(r).mean() / t.room),
        ("promised on search minus held-out, thousandths",
         lambda t, r: 1e3 * (t.promised[r] - t.chosen[r]).mean()),
        ("the same, as estimated by bootstrap", lambda t, r: 1e3 * t.optimism[r].mean()),
        ("milliseconds a choice, at most", lambda t, r: 1e3 * t.seconds[r]),
    ):  # fmt: skip
        reduce = max if "at most" in said else sum if "rows" in said else np.mean
        cells = [reduce([figure(t, rule) for t in trials]) for rule in RULES]
        lines.append(f"| {said} | " + " | ".join(f"{cell:.3g}" for cell in cells) + " |")
    lines += [
        "",
        "| table | search images | warned | a rival ahead: warned | not warned | false lead |",
        "|---|---|---|---|---|---|",
    ]
    for t in trials:
        warned, ahead = t.warned.T
        shares = [_share(warned), _share(ahead[warned]), _share(ahead[~warned])]
        false = f"{100 * t.false_leads:.1f} %"
        lines.append(f"| {t.name} | {t.size} | " + " | ".join([*shares, false]) + " |")
    return "\n".join(lines)


def _share(flags: np.ndarray) -> str:
    return f"{100 * flags.mean():.0f} % of {len(flags)}" if len(flags) else "none"


def observation(found: Table, splits: int) -> str:
    """The argmax of 700 formulas on 50 ultrasound images, and what it is worth on the others."""
    fresh = np.flatnonzero(~disguised(found))
    few = fresh[np.linspace(0, len(fresh) - 1, 700).round().astype(int)]
    scores, reference = found.scores[few], found.published_scores[found.published.index("grad-cam")]
    figures = []
    for split in range(splits):
        shuffled = np.random.default_rng(split).permutation(scores.shape[1])
        seen, unseen = shuffled[:50], shuffled[50:]
        best = scores[:, seen].mean(1).argmax()
        figures.append((scores[best, seen].mean(), scores[best, unseen].mean(),
                        reference[unseen].mean()))  # fmt: skip
    on_search, unseen, published = np.mean(figures, axis=0)
    spread = np.std([a - b for a, b, _ in figures])
    return (
        f"Argmax of 700 formulas under iou on 50 of {scores.shape[1]} ultrasound images: "
        f"{on_search:.3f} on search, {unseen:.3f} held-out, Grad-CAM {published:.3f}; the drop "
        f"has a standard deviation of {spread:.3f} over the splits."
    )


def draw(trials: Sequence[Trial], file: Path) -> None:
    """Share of the oracle's gain against the number of search images, mean over the tables."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for rule in RULES:
        sizes = [s for s in SIZES if any(t.size == s for t in trials)]
        at = {s: [t for t in trials if t.size == s] for s in sizes}
        placed = [ranks(at[s])[rule].mean() for s in sizes]
        left.plot(sizes, placed, marker="o", label=rule)
        drop = [np.median([(t.promised[rule] - t.chosen[rule]).mean() / t.promised[rule].mean()
                           for t in at[s]]) for s in sizes]  # fmt: skip
        right.plot(sizes, 100 * np.array(drop), marker="o", label=rule)
    left.invert_yaxis()
    left.set(title="mean rank by held-out gain", xlabel="search images", xscale="log")
    right.set(title="lost from search to held-out, %", xlabel="search images", xscale="log")
    for axes in (left, right):
        axes.set_xticks(SIZES, SIZES)
        axes.minorticks_off()
    right.legend()
    figure.savefig(file, dpi=90)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--tables", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("."), help="selection.md and .png go here")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    trials = []
    for name in options.tables:
        found = table(name, options.cache)
        for size in SIZES:
            if found.scores.shape[1] - size >= LEFT:
                trials.append(trial(name, found, size, options.splits))
                gains = {rule: round(float(trials[-1].gain(rule).mean()), 4) for rule in RULES}
                print(name, size, json.dumps(gains), flush=True)
        if name == "busi-iou":
            said = observation(found, options.splits)
            print(said, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    text = markdown(trials, options.splits)
    if "busi-iou" in options.tables:
        text = f"{said}\n\n{text}"
    (options.out / "selection.md").write_text(text + "\n")
    draw(trials, options.out / "selection.png")
    print(text)


if __name__ == "__main__":
    main()
