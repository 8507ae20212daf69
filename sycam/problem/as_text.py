"""Target and layout as text, for a run's record and identity."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sycam.evidence import Layer
from sycam.networks.layouts.reshaping import AUTO as DETECT
from sycam.networks.layouts.reshaping import Reshape, UserReshape
from sycam.support.content_digest import content_digest
from sycam.targets.class_targets import ClassTarget
from sycam.targets.resolve import Target


def reshape_text(layers: Sequence[Layer]) -> str | None:
    """How the outputs of layers become maps, so that it can be had again: their layout, None where
    they are (N,K,h,w), ``"auto"`` where layouts differ; for a function of the user what it
    computes."""
    texts = dict.fromkeys(_reshape_text(layer.reshape) for layer in layers)
    return next(iter(texts)) if len(texts) == 1 else DETECT


def _reshape_text(reshape: Reshape) -> str | None:
    if isinstance(reshape, UserReshape):
        return reshape.text
    return target_text(reshape) if callable(reshape) else reshape


def target_text(target: Target) -> str:
    """A target in the words of the command line; for a callable its name and what it computes.

    A callable whose content cannot be read gets a text of its own at each call, so that no run
    takes its scores for those of another.
    """
    if isinstance(target, ClassTarget):
        text = str(target)
        return (
            text.removeprefix("logit:of=")
            if text.startswith("logit:")
            else text.replace("logit", "predicted")
        )
    if callable(target):
        name = getattr(target, "__qualname__", type(target).__qualname__)
        return f"callable {name} {(content_digest(target) or secrets.token_hex(32))[:16]}"
    return str(target)
