"""Measurements on a few images as bytes, from which a worker has evidence and context of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from sycam.evidence import Evidence, Stack, stacked
from sycam.metrics import Context
from sycam.metrics.context import Scale
from sycam.problem.explained_network import ExplainedNetwork
from sycam.targets.class_targets import ClassTarget
from sycam.targets.resolve import Target, is_callable, resolve

FACTS = "facts"


def shard_bytes(evidence: Evidence | Stack, context: Context) -> bytes:
    """Measurements on some images, and the context of the same images."""
    tensors: dict[str, Tensor | None] = {
        "images": context.images,
        "targets": context.targets,
        "clean": context.clean,
        "masks": context.masks,
        "outputs": evidence.outputs,
    }
    for place, layer in enumerate(evidence.layers):
        tensors |= {f"{place} {name}": tensor for name, tensor in layer.leaves.items()}
    facts = {
        "layers": [{"name": layer.name, "depth": layer.depth} for layer in evidence.layers],
        "digests": list(context.digests),
        "seed": int(context.seed),
        "scale": asdict(context.scale),
        "explained": context.explained is not None,
        "outputs": context.outputs is not None,
    }
    # Of a part of a tensor only the part.
    kept = {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items() if t is not None}
    return save(kept, {FACTS: json.dumps(facts, sort_keys=True)})


def facts_of(data: bytes) -> dict:
    """What is said beside the tensors."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"][FACTS])


def images_of(data: bytes) -> Tensor:
    """The images ``[n,C,H,W]`` alone."""
    return load(data)["images"]


def opened_shard(data: bytes, explained: ExplainedNetwork) -> tuple[Evidence | Stack, Context]:
    """The measurements and the context of :func:`shard_bytes`, with a network that is here."""
    return opened_shards([data], explained)


def opened_shards(
    several: Sequence[bytes], explained: ExplainedNetwork
) -> tuple[Evidence | Stack, Context]:
    """The same of several shards, one after another."""
    classifier = explained.classifier
    loaded = [load(data) for data in several]
    facts = facts_of(several[0])
    tensors = {
        name: torch.cat([one[name] for one in loaded]).to(classifier.device) for name in loaded[0]
    }
    digests = tuple(digest for data in several for digest in facts_of(data)["digests"])
    outputs, targets = tensors.get("outputs"), tensors["targets"]
    layers = []
    for place, layer in enumerate(facts["layers"]):
        head = f"{place} "
        leaves = {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
        activations, gradients = leaves.pop("activations"), leaves.pop("gradients")
        layers.append(
            Evidence(
                activations, gradients, outputs, targets, leaves, layer["depth"], layer["name"]
            )
        )
    resolved = None
    if facts["explained"]:
        target = _fixed(explained.target, outputs, targets)
        resolved = resolve(target, outputs, len(targets))
    context = Context(
        images=tensors["images"],
        targets=targets,
        clean=tensors["clean"],
        classifier=classifier,
        digests=digests,
        masks=tensors.get("masks"),
        seed=facts["seed"],
        explained=resolved,
        outputs=outputs if facts["outputs"] else None,
        source=explained,
        scale=Scale(**facts["scale"]),
    )
    return stacked(layers, explained.fusion), context


def _fixed(target: Target, outputs: Tensor | None, classes: Tensor) -> Target:
    """The target with the class of each image, as the labels that it may go by are not here."""
    one_output = isinstance(outputs, torch.Tensor) and outputs.shape[1] == 1
    if is_callable(target) or one_output:
        return target
    return replace(target, of=classes) if isinstance(target, ClassTarget) else classes
