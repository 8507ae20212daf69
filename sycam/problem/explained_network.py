"""What is explained: a network with its layers and target, ready to be measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from sycam.data.images import ImageSet
from sycam.data.readers.archive import names_unused, of_archive
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, ignore
from sycam.evidence import (
    MEASURED,
    SITES,
    SOUGHT,
    Cache,
    Evidence,
    Examples,
    Layer,
    Layers,
    Leaf,
    Stack,
    as_layers,
    default_folder,
    find_layer,
    find_sites,
    measure_layers,
    measure_leaves,
    read_outputs,
    stacked,
)
from sycam.heatmaps import check_fusion
from sycam.inference import Classifier
from sycam.language.operators import OPERATORS
from sycam.metrics import Context
from sycam.metrics.context import Scale
from sycam.networks import NamedNetwork, open_network
from sycam.networks.forward import returned
from sycam.networks.layouts.reshaping import AUTO as DETECT
from sycam.networks.readings import PROBES, USUAL, Reading
from sycam.networks.steadiness import unsteadiness
from sycam.networks.untouched import copied, device_of, moved, untouched
from sycam.problem.as_text import target_text
from sycam.problem.devices import device_for
from sycam.problem.measurement_notes import note_classes, note_gradients, note_saturation
from sycam.problem.options import ExplainOptions
from sycam.support.arguments import argument
from sycam.support.content_digest import network_digest
from sycam.targets.class_targets import ClassTarget, parse_target
from sycam.targets.resolve import Target, is_callable, read_as, resolve
from sycam.targets.resolved import Resolved


@dataclass(frozen=True)
class ExplainedNetwork:
    """A network ready to be measured.

    Attributes:
        network: the user's network, or a copy of it on another device.
        known: the network as it was given, with what is known of it.
        layers: the target layers, one or several.
        target: what is explained, see :mod:`sycam.targets`.
        seed: of everything random.
        classifier: the fast copy for perturbed images.
        fusion: how the heatmaps of several layers become one.
        class_names: of all classes, in the network's order; None where they are not known.
        reading: what the network's outputs are.
        unsteady: what of them is not decided by the image alone, for people.
    """

    network: nn.Module
    known: NamedNetwork
    layers: tuple[Layer, ...]
    target: Target
    seed: int
    classifier: Classifier
    fusion: str | tuple[float, ...] = "mean"
    class_names: tuple[str, ...] | None = None
    reading: Reading = USUAL
    unsteady: str = ""

    @classmethod
    def prepare(
        cls,
        network: nn.Module | str | NamedNetwork,
        layer: Layers,
        images: ImageSet,
        explain: ExplainOptions = ExplainOptions(),
        seed: int = 0,
        device: str | torch.device | None = None,
        notify: Notify = ignore,
    ) -> ExplainedNetwork:
        """Load the network, move it to the device and find the layers.

        Args:
            network: see :func:`sycam.networks.open_network`.
            layer: the target layers.
            images: some of them serve as probes for layer ``"auto"`` and output ``"auto"``.
            explain: what of the network.
            seed: of everything random.
            device: where it runs; CUDA where there is one if None.
            notify: watches the progress.

        Raises:
            SycamError: for anything given that cannot be used.
        """
        if not isinstance(seed, Integral):
            raise OptionError(f"{argument('seed')} must be an integer, got {seed!r}")
        target = checked_target(explain.target)
        wanted = as_layers(layer)
        fusion = check_fusion(explain.fusion, len(wanted))
        known = open_network(network)
        for line in known.notes:
            notify(Note(line))
        network = known.module
        place = device_for(device, network)
        if place != device_of(network):
            # By name, so that the copy's layers are found.
            wanted = [
                one if one in (*SOUGHT, SITES) else find_layer(network, one, images.images[:0]).name
                for one in wanted
            ]
            network = moved(copied(network), place)
        probes = images.images[:PROBES].to(place)
        unsteady = unsteadiness(network, probes) if len(probes) else ""
        if unsteady:
            notify(Note(unsteady))
        reading, said = read_outputs(network, probes, explain.output, target)
        if said:
            notify(Note(said))
        target = read_as(target, reading)
        if wanted == [SITES]:
            if explain.reshape not in (None, DETECT):
                raise OptionError(
                    f"the layers are sought with their layouts; leave out {argument('reshape')}, "
                    "or name the layers"
                )
            layers = find_sites(network, probes, target, len(images))
        else:
            layers = tuple(
                find_layer(network, one, probes, explain.reshape, target) for one in wanted
            )
        for one in layers:
            if one.note:
                notify(Note(one.note))
        score = target if is_callable(target) else None
        classifier = Classifier(network, place, score=score, reading=reading)
        names = known.class_names or _names_of_images(network, images, notify)
        return cls(
            network, known, layers, target, seed, classifier, fusion, names, reading, unsteady
        )

    @property
    def name(self) -> str:
        """For people and folder names."""
        return self.known.name

    @property
    def source(self) -> str | None:
        """How the command line names the network, or None for a module from Python."""
        return self.known.source

    @property
    def layer(self) -> Layer:
        """The layer that is named first."""
        return self.layers[0]

    @property
    def layer_names(self) -> str:
        """Names of the layers, for people."""
        return " + ".join(layer.name for layer in self.layers)

    def measure(
        self,
        images: ImageSet,
        notify: Notify = ignore,
        leaves: Collection[str] = (),
        cache: Cache | None = None,
        gradients: bool = True,
    ) -> tuple[Evidence | Stack, Context]:
        """Evidence and metric context of an image set.

        Args:
            leaves: names of leaves to measure beside activations and gradients.
            cache: where expensive leaves are kept; the user's cache folder if None.
            gradients: measure them even where ``leaves`` does not name them.
        """
        pixels = images.images.to(self.classifier.device)
        cache = Cache(default_folder()) if cache is None else cache
        leaves = {*leaves, "gradients"} if gradients else leaves
        examples = Examples(pixels, images.labels, images.digests)
        evidence = stacked(self._measure(examples, notify, leaves, cache), self.fusion)
        if cache.trouble:
            notify(Note(cache.trouble))
        # By the same fast copy that sees the perturbed images.
        clean = self.classifier.probability(pixels, evidence.targets)
        masks = None if images.masks is None else images.masks.to(pixels.device)
        return evidence, self.context(pixels, masks, images, evidence, clean, notify)

    def context(
        self,
        pixels: Tensor,
        masks: Tensor | None,
        images: ImageSet,
        evidence: Evidence | Stack,
        clean: Tensor,
        notify: Notify = ignore,
    ) -> Context:
        """The context of images that are measured; a note where something is strange about them.

        Args:
            pixels, masks: those of the images, on the classifier's device.
            images: what else is known of them.
            evidence: measurements on them.
            clean: ``[N]`` probability of the class explained.
            notify: is told what a user should know.
        """
        if evidence.outputs is not None and not is_callable(self.target):
            note_classes(images, evidence.outputs, self.known, self.reading, notify)
        note_gradients(self.layers, evidence, notify)
        note_saturation(self.classifier, pixels, evidence, clean, notify)
        return Context(
            images=pixels,
            targets=evidence.targets,
            clean=clean,
            classifier=self.classifier,
            digests=images.digests,
            masks=masks,
            seed=self.seed,
            explained=resolve(self.target, evidence.outputs, len(images), images.labels),
            outputs=evidence.outputs,
            source=self,
            scale=self._scale(pixels, evidence.targets, clean),
        )

    def _scale(self, images: Tensor, targets: Tensor, clean: Tensor) -> Scale:
        """Of the values that metrics watch; a callable's are those of the images and of an empty
        one, which is what removals lead to."""
        if self.classifier.score is None:
            return Scale()
        empty = self.classifier.probability(torch.zeros_like(images[:1]), targets[:1])
        return Scale.of(torch.cat([clean, empty]))

    def remeasure(
        self,
        images: Tensor,
        leaves: Collection[str],
        target: Target | Resolved | None = None,
        network: nn.Module | None = None,
        keep: bool = True,
        gradients: bool = True,
    ) -> Evidence | Stack:
        """Evidence of changed images, or of a copy of the network with other weights.

        Args:
            images: ``[N,C,H,W]`` on the classifier's device.
            leaves: names of leaves to measure.
            target: what is explained; the network's own target if None.
            network: a copy whose layers have the same names; the network itself if None.
            keep: expensive leaves on disk, which is worth it for images that are met again.
            gradients: as for :meth:`measure`.
        """
        cache = Cache(default_folder() if keep else None)
        leaves = {*leaves, "gradients"} if gradients else leaves
        layers = self.layers
        if network is not None:
            layers = tuple(replace(la, module=network.get_submodule(la.name)) for la in layers)
        measured = measure_leaves(
            self.network if network is None else network,
            layers,
            Examples(images),
            leaves,
            self.target if target is None else read_as(target, self.reading),
            cache=cache,
        )
        return stacked(measured, self.fusion)

    def _measure(
        self, examples: Examples, notify: Notify, leaves: Collection[str], cache: Cache
    ) -> tuple[Evidence, ...]:
        shown = "activations", ""  # whose stage has begun

        def progress(name: str, layer: str, done: int, count: int) -> None:
            nonlocal shown
            if (name, layer) != shown:
                shown = name, layer
                symbol = OPERATORS[name].symbol if name in OPERATORS else name
                notify(Stage(f"Measuring {symbol}" + (f" at {layer}" if layer else ""), count))
            notify(Step(done))

        return measure_leaves(
            self.network, self.layers, examples, leaves, self.target, cache=cache, progress=progress
        )

    def lacking(self, images: ImageSet, leaves: Collection[str]) -> list[Leaf]:
        """Those of the leaves named that this network does not have at every layer."""
        asked = [leaf for leaf in MEASURED.values() if leaf.name in leaves and leaf.of_evidence]
        # A callable explains no class, which these leaves tell of.
        if not asked or is_callable(self.target):
            return asked
        probes = images.images[:PROBES].to(self.classifier.device)
        predicted = read_as("predicted", self.reading)
        seen = measure_layers(self.network, self.layers, probes, predicted)
        return [leaf for leaf in asked if not all(leaf.had_by(self.network, one) for one in seen)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the network computes: its code, weights and attributes."""
        return network_digest(self.network)

    @cached_property
    def target_text(self) -> str:
        """What is explained, as text."""
        return target_text(self.target)


def checked_target(target: Target) -> Target:
    """A target that a whole set of images can have: text is parsed, lists are refused."""
    if isinstance(target, str):
        return parse_target(target)
    of = target.of if isinstance(target, ClassTarget) else target
    if isinstance(of, Sequence | Tensor | np.ndarray) and not isinstance(of, str):
        raise OptionError(
            "a run explains one kind of target for all images: 'predicted', 'label', a class, "
            "a target of sycam.targets or a callable; one class per image are labels"
        )
    return target


def _names_of_images(
    network: nn.Module, images: ImageSet, notify: Notify
) -> tuple[str, ...] | None:
    """The classes that the images name; of an archive's, only where the network has as many."""
    names = images.class_names
    if names is None or not of_archive(images.origin):
        return names
    with untouched(network), torch.no_grad():
        outputs = returned(network, images.images[:1].to(device_of(network)))
    classes = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.ndim == 2 else 0
    if len(names) == max(classes, 2):
        return names
    notify(Note(names_unused(len(names), classes)))
    return None
