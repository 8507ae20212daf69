"""What an exported file says of where its formula comes from."""

from __future__ import annotations

from sycam.methods.method import RIVALS
from sycam.runs.result import Formula, Result
from sycam.validation.entrants import NEW
from sycam.version import __version__


def provenance_of(result: Result, formula: Formula) -> str:
    """Where the formula comes from, and its figures on held-out images under each goal."""
    validation, record = result.validation, result.record
    goals, beside = validation.goals, result.best.known_as and not formula.known_as
    role = f"best {goals[0]}" if len(goals) == 1 else f"a compromise of {' and '.join(goals)}"
    names = record.network.layers
    layers = f"layer{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
    lines = [
        f"Found by SyCAM {__version__} on {record.created[:10]}: {role} among "
        f"{record.search.candidates} distinct formulas",
        f"of grammar {record.grammar.name!r}, on {record.data.search_images} images, "
        f"network {record.network.name!r}, {layers}.",
    ]
    if formula.known_as:
        lines.append(
            f"The published {formula.known_as}: no new formula was ahead on the search images."
        )
    elif beside:
        lines.append(
            f"On the search images the published {result.best.known_as} was ahead of this formula."
        )
    if (target := record.settings.target) != "predicted":
        lines.append(f"It was searched to explain {target}: say so by the argument targets.")
    verdicts = {verdict.goal: verdict for verdict in validation.verdicts}
    for goal in goals:
        lines += [f"Mean {goal} on {validation.images} held-out images (95 % interval):", ""]
        for row in validation.rows:
            ours = row.kind == (NEW if beside else "winner")
            if not ours and row.kind not in RIVALS:
                continue
            label = "this class" if ours else row.name
            held = row.under(goal).heldout
            lines.append(f"    {label:12} {held.mean: .4f}  [{held.low: .4f}, {held.high: .4f}]")
        if goal in verdicts and not result.best.known_as:
            better = "better" if verdicts[goal].beats_published else "not significantly better"
            lines += [
                "",
                f"It is {better} there than the best published one (Holm-corrected p < 0.05).",
            ]
        lines.append("")
    return "\n".join(lines).rstrip()
