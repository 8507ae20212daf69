"""A formula handed over: a Python module for torch or a library of CAMs, or one graph."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sycam.errors import OptionError, RunError, unknown_name
from sycam.language import Expression, parse_weights
from sycam.methods.method import RIVALS
from sycam.networks.readings import LOGITS, PROBABILITIES, SIGMOID
from sycam.runs.recorded import output_of
from sycam.runs.result import Formula, Result
from sycam.runs.trust import file_of_network
from sycam.support.files import write_whole
from sycam.support.permission import reading_a_run
from sycam.validation.validate import NEW
from sycam.version import __version__

MODULES = {
    "torch": "a class that needs torch alone",
    "grad-cam": "a BaseCAM of pytorch-grad-cam",
    "torchcam": "an extractor of TorchCAM",
    "captum": "a LayerAttribution of Captum",
    "quantus": "an explain_func of Quantus",
}
GRAPHS = {
    "onnx": "network and heatmaps in one ONNX graph, where the formula needs no gradient",
    "torch-export": "the same as a program of torch.export",
}
_SUFFIXES = dict.fromkeys(MODULES, ".py") | {"onnx": ".onnx", "torch-export": ".pt2"}


def export(
    result: Result,
    path: str | Path,
    name: str = "SynthesisedCAM",
    base: str = "torch",
    network: nn.Module | str | None = None,
    trust: bool = False,
    new: bool = False,
) -> Path:
    """Write the winner of a run as a Python module with one class, or as one graph.

    The class agrees with :class:`sycam.CAM` of the same expression, and its module says formula,
    figures and provenance.

    Args:
        result: of :func:`sycam.synthesize` or :func:`sycam.load`.
        path: the file to write: ``.py``, or ``.onnx`` or ``.pt2`` for a graph.
        name: of the class.
        base: what the class is for: ``"torch"``, ``"grad-cam"``, ``"torchcam"``, ``"captum"`` or
            ``"quantus"``; or ``"onnx"`` or ``"torch-export"``, which write the network with the
            heatmaps as one graph.
        network: for a graph of a run that was started from Python, the network.
        trust: for a graph, import the Python file that the run names as its network.
        new: write the best new formula (``result.best_new``), also where a published CAM won.

    Returns:
        The path written.

    Raises:
        UnknownNameError: there is no such base.
        OptionError: ``name`` is no Python identifier or the name of something else in the module,
            ``path`` has another ending, or the formula cannot be said in this form.
        TrustError: a graph needs a Python file that the run names, and it is not trusted.
        RunError: the run has no winner, is of several layers or of a transformer where the base
            cannot say that, or the file cannot be written.
    """
    path = Path(path)
    if base not in _SUFFIXES:
        raise unknown_name("base", base, _SUFFIXES)
    if path.suffix != _SUFFIXES[base]:
        hint = {".onnx": "; for one ONNX graph say base 'onnx'",
                ".pt2": "; for a program of torch.export say base 'torch-export'"}  # fmt: skip
        raise OptionError(
            f"export path '{path}' of base {base!r} must end in {_SUFFIXES[base]}"
            f"{hint.get(path.suffix, '')}"
        )
    formula = result.best_new if new else result.best
    if formula is None:
        raise RunError(f"the run has no {'new formula' if new else 'winner'} to export")
    expression = parse_weights(formula.expression)
    if base in GRAPHS:
        from sycam.export.graph import export_graph

        with reading_a_run(filter(None, [file_of_network(network)]), trust):
            return export_graph(
                result, expression, path, base, _provenance(result, formula), network
            )
    if network is not None:
        raise OptionError(
            f"base {base!r} writes a class for any network: network is for {' and '.join(GRAPHS)}"
        )
    shape = _check_shape(result, expression, base) + _check_output(result, expression)
    from sycam.export.module import module_source  # which imports sympy

    layer = result.record["network"]["layers"][0]
    source = module_source(expression, name, shape + _provenance(result, formula), base, layer)
    try:
        write_whole(path, source, within=result.path)
    except OSError as error:
        raise RunError(f"cannot write '{path}': {error}") from None
    return path


def _check_output(result: Result, expression: Expression) -> str:
    """What the docstring has to say of the network's outputs, which the class takes for logits;
    RunError where it would take a probability for another."""
    form, _, link = output_of(result.record["settings"]).partition(":")
    several = link == SIGMOID and form == LOGITS
    if several and "probability" in expression.leaves:
        raise RunError(
            "the formula reads p, which is a sigmoid in the run (output 'logits:sigmoid') and the "
            "softmax in an exported class; use result.best.cam(network, layer, "
            "output='logits:sigmoid') in Python"
        )
    if form != PROBABILITIES:
        return ""
    return (
        "The run's network returns probabilities, and was explained by what comes before its last "
        f"{link}: give a network without that step.\n"
    )


def _check_shape(result: Result, expression: Expression, base: str) -> str:
    """What the docstring has to say of several layers or a transformer's; RunError where the base
    cannot say it."""
    network = result.record["network"]
    layers, fusion, reshape = network["layers"], network["fusion"], network["reshape"]
    said = ""
    if len(layers) > 1:
        if base != "grad-cam" or fusion != "mean":
            raise RunError(
                f"the run explains several layers ({', '.join(layers)}; fusion {fusion}), and a "
                f"class of base {base!r} takes one; base 'grad-cam' takes several with fusion "
                "mean, result.best.cam(network, layers, fusion=...) in Python any"
            )
        said = f"It was found for the mean of layers {', '.join(layers)}: give all of them.\n"
    if reshape:
        recorded = expression.leaves <= {"activations", "gradients"}
        if base not in ("grad-cam", "torchcam") or not recorded:
            raise RunError(
                f"the run explains a layer under reshape {reshape!r}, and a class of base {base!r} "
                "takes a convolutional one; bases 'grad-cam' and 'torchcam' have a "
                "reshape_transform (for formulas of A and G), result.best.cam(network, layer, "
                "reshape=...) works in Python"
            )
        said += f"It was found with reshape {reshape!r}: give that as reshape_transform.\n"
    return said


def _provenance(result: Result, formula: Formula) -> str:
    """Where the formula comes from, and its figures on held-out images under each goal."""
    validation, record = result.validation, result.record
    goals, beside = validation.goals, result.best.known_as and not formula.known_as
    role = f"best {goals[0]}" if len(goals) == 1 else f"a compromise of {' and '.join(goals)}"
    lines = [
        f"Found by SyCAM {__version__} on {record['created'][:10]}: {role} among "
        f"{record['search']['candidates']} distinct formulas",
        f"of grammar {record['grammar']['name']!r}, on {record['data']['search_images']} images, "
        f"network {record['network']['name']!r}, layer {record['network']['layer']!r}.",
    ]
    if formula.known_as:
        lines.append(
            f"The published {formula.known_as}: no new formula was ahead on the search images."
        )
    elif beside:
        lines.append(
            f"On the search images the published {result.best.known_as} was ahead of this formula."
        )
    if (target := record["settings"]["target"]) != "predicted":
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
