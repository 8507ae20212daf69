"""The network as a fast, frozen function from images to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, OptionError
from sycam.inference.acceleration import (
    SAVED,
    compiled,
    compiling_pays,
    exact_convolutions,
    fitting_batch,
    folded,
    out_of_memory,
    seconds_of,
)
from sycam.inference.freed_memory import keep_freed_memory
from sycam.inference.precisions import FLOAT32, PRECISIONS
from sycam.inference.threads import Threads, active_threads, on_fastest_threads
from sycam.inference.winograd import with_minimal_filters
from sycam.networks.contents import contents, refill
from sycam.networks.forward import forward
from sycam.networks.outputs import check_outputs, probabilities, rows
from sycam.networks.readings import USUAL, Reading
from sycam.networks.untouched import copied, device_of, dtype_of, moved, untouched
from sycam.support.arguments import argument

AGREEMENT = 1e-5  # within which a faster form of the network must give the same probabilities
# Batches: for fewer passes nothing is prepared, no convolution replaced; trying takes a part of it.
FEW, MANY = 16, 64
LENIENT = 2.0  # times the plain form's own error, where its arithmetic is coarser than float32


@dataclass(frozen=True)
class Form:
    """How a classifier runs its network, whatever the clock says.

    Attributes:
        folded: batch norms are folded into convolutions.
        minimal: convolutions are replaced, see :mod:`sycam.inference.winograd`.
        batch: images per forward pass; None before any.
    """

    folded: bool = False
    minimal: bool = False
    batch: int | None = None


class Classifier:
    """Forward passes on perturbed images, on a copy of the network (``network``).

    The copy is laid out channels last, unless the network cannot run so. :meth:`plan` may replace
    it by a faster form.

    Args:
        network: the user's network; it is copied, never changed.
        device: where to run; the network's own device if None.
        batch: images per forward pass; found from the sizes of the layers' outputs if None. Halved
            when memory runs out, then kept.
        score: where a callable target is explained, that callable: its value takes the place of
            the probability, and the network may return anything.
        precision: ``"float32"``, or ``"bfloat16"`` for torch's automatic mixed precision; see
            :func:`sycam.scoring.precision.verify_precision`.
        reading: what the network's outputs are.

    Attributes:
        passes: images forwarded so far.
        plain: the copy as the user built it, whatever form runs: for methods that look inside.
        form: ``"eager"``, ``"folded"`` or ``"compiled"``, see :meth:`plan`.

    Raises:
        NetworkError: the network cannot be copied.
        OptionError: a precision that is not known.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | None = None,
        batch: int | None = None,
        score: Callable[[object], Tensor] | None = None,
        precision: str = FLOAT32,
        reading: Reading = USUAL,
    ):
        if precision not in PRECISIONS:
            raise OptionError(
                f"{argument('precision')} {precision!r} is not known; expected "
                f"{' or '.join(PRECISIONS)}"
            )
        self.score, self.precision, self.reading = score, precision, reading
        self.device = torch.device(device) if device is not None else device_of(network)
        with untouched(network):
            twin = copied(network)
        if self.device.type == "cpu":
            keep_freed_memory()
        volumes = any(parameter.ndim == 5 for parameter in twin.parameters())
        self._layout = torch.contiguous_format if volumes else torch.channels_last
        self.network = moved(twin, self.device).eval().requires_grad_(False)
        self.network.to(memory_format=self._layout)
        self.plain = self.network
        self.batch = self._wanted = batch
        self.passes = 0
        self.form = "eager"
        self._dtype = dtype_of(self.network)
        self._minimal: bool | None = None  # whether its convolutions are replaced; None: not tried
        self._compiled: Callable[[Tensor], Tensor] | None = None  # for batches like the sample
        self._gain = 1.0  # how many times as fast that is
        self._sample: Tensor | None = None  # the last largest batch, as the network saw it

    def probability(self, images: Tensor, targets: Tensor) -> Tensor:
        """Probability of each image's target class.

        Args:
            images: ``[B,C,H,W]``, any B.
            targets: ``[B]`` class indices, or ``[B,T]`` several an image.

        Returns:
            Tensor float32 of the targets' shape.

        Raises:
            OptionError: several classes an image where a callable is explained.
        """
        if self.score is not None and targets.ndim > 1:
            raise OptionError("a callable target has one value per image, not one per class")
        targets = targets.to(self.device)
        chances = targets.new_empty(targets.shape, dtype=torch.float32)
        for part, outputs in self._run(images):
            chances[part] = self._confidence(outputs, targets[part])
        return chances

    def predictions(self, images: Tensor) -> Tensor:
        """``[B]`` int64, the likeliest class of each image (of one output: whether it is
        positive).

        Raises:
            OptionError: a callable is explained, so that there are no classes.
        """
        if self.score is not None:
            raise OptionError("a callable target says nothing of classes, so none is predicted")
        classes = torch.empty(len(images), dtype=torch.int64, device=self.device)
        for part, outputs in self._run(images):
            classes[part] = _likeliest(outputs)
        return classes

    def answers(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`probability` and :meth:`predictions` of the same passes.

        Args:
            images: ``[B,C,H,W]``, any B.
            targets: ``[B]`` class indices.

        Returns:
            ``[B]`` float32, and ``[B]`` int64, zeros where a callable is explained.
        """
        targets = targets.to(self.device)
        chances = targets.new_empty(targets.shape, dtype=torch.float32)
        classes = torch.zeros_like(targets)
        for part, outputs in self._run(images):
            chances[part] = self._confidence(outputs, targets[part])
            if self.score is None:
                classes[part] = _likeliest(outputs)
        return chances, classes

    def plan(self, passes: int) -> str:
        """Prepare for many passes on images like those of the last call; not for under 16 batches.

        Batch norms are folded into convolutions, and on a CPU with a C compiler 3x3 convolutions
        replaced by :mod:`sycam.inference.winograd`, where that is faster. Where the time of the
        passes, at the speed measured on those images, is worth it, the network is compiled for
        full batches (smaller rests run eagerly), which takes up to half a minute; it stays as it
        is where there is no C++ compiler. Each step is taken only if its probabilities agree
        within 1e-5 on those images, so scores of runs that were planned differently may differ by
        as much. Where the arithmetic is coarser (bfloat16; TensorFloat-32, which torch uses for
        convolutions on recent GPUs), it may be twice as far from float32 as the plain network is.

        Args:
            passes: images that will be forwarded.

        Returns:
            The form of the network from now on: ``"eager"``, ``"folded"`` or ``"compiled"``.
        """
        if self._sample is None or self.score is not None or self._compiled is not None:
            return self.form
        if self.batch is None:
            return self.form
        if passes < FEW * self.batch:
            return self.form
        places = torch.arange(self.batch, device=self.device) % len(self._sample)
        self._sample = batch = self._laid(self._sample[places])
        try:
            with torch.no_grad(), self._arithmetic():
                if self.form == "eager":
                    self._take_folded(batch)
                seconds = self._seconds(batch)
                if passes >= MANY * self.batch:
                    seconds = self._take_minimal(batch, seconds)
                saved = SAVED / 2 if self._minimal else SAVED
                if compiling_pays(self.network, seconds / len(batch) * passes, saved):
                    self._take_compiled(batch)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._sample = None  # passes find a smaller batch by themselves
        return self.form

    def settle(self) -> Form:
        """Take each faster form that gives the same probabilities on the images of the last call,
        whatever it saves: unlike that of :meth:`plan`, what comes of it does not depend on how
        busy the machine is. Nothing is compiled.

        Returns:
            What :meth:`adopt` takes the same form by, in another process.
        """
        if self._sample is not None and self.batch is not None and self.score is None:
            places = torch.arange(self.batch, device=self.device) % len(self._sample)
            self._sample = batch = self._laid(self._sample[places])
            with torch.no_grad(), self._arithmetic():
                if self.form == "eager":
                    self._take_folded(batch)
                twin = self._with_minimal(batch)
                if twin is not None:
                    self.network, self._minimal = twin, True
        return Form(self.form == "folded", bool(self._minimal), self.batch)

    def adopt(self, form: Form, images: Tensor) -> None:
        """Take the form that another classifier of the same network has settled on.

        Args:
            form: of :meth:`settle`.
            images: ``[1,...]`` or more, that the network takes.

        Raises:
            NetworkError: it cannot be had here.
        """
        self.batch = self._wanted = form.batch
        twin: nn.Module | None = self.network
        with torch.no_grad(), self._arithmetic():
            if form.folded and (twin := folded(self.network)) is not None:
                self.network, self.form = twin.to(memory_format=self._layout), "folded"
            if form.minimal and twin is not None:
                twin = with_minimal_filters(self.network, self._laid(images[:1]))
                self._minimal = twin is not None
        if twin is None:
            raise NetworkError(
                "the network cannot be made as fast here as where it was prepared: the same "
                "releases of torch and SyCAM are needed, with SyCAM's compiled code"
            )
        self.network = twin

    def _seconds(self, batch: Tensor) -> float:
        """What a batch takes, on as many threads of a CPU as are fastest."""
        threads = self._threads()
        if threads is not None:
            return threads.settle(lambda: self.network(batch))
        return seconds_of(self.device, lambda: self.network(batch))[0]

    def _threads(self) -> Threads | None:
        return active_threads() if self.device.type == "cpu" else None

    def _governed(self, batch: Tensor) -> object:
        """The outputs for a batch, on as many threads of a CPU as are fastest."""
        if self.device.type != "cpu":
            return self._forward(batch)
        kind = (self, self.form, batch.shape)
        return on_fastest_threads(kind, lambda: self._forward(batch))

    def _take_folded(self, batch: Tensor) -> None:
        twin = folded(self.network)
        if twin is not None and self._agrees(twin, batch):
            self.network = twin.to(memory_format=self._layout)
            self.form = "folded"

    def _take_minimal(self, batch: Tensor, seconds: float) -> float:
        """Seconds a batch; what it takes without is given."""
        twin = self._with_minimal(batch)
        if twin is None:
            return seconds
        works = (lambda: self.network(batch)), (lambda: twin(batch))
        slow, quick = seconds_of(self.device, *works, repeats=3)
        if quick >= slow:
            return seconds
        self.network, self._minimal = twin, True
        return quick

    def _with_minimal(self, batch: Tensor) -> nn.Module | None:
        """A form with other convolutions, tried once; None where there is none that agrees."""
        if (
            self._minimal is not None
            or self.device.type != "cpu"
            or self.precision != FLOAT32
            or self._layout is not torch.channels_last
        ):
            return None
        self._minimal = False
        try:
            twin = with_minimal_filters(self.network, batch[:1])
            return twin if twin is not None and self._agrees(twin, batch) else None
        except Exception as error:  # whatever a user's forward does with other tensors
            if out_of_memory(error):
                raise
            return None

    def _take_compiled(self, batch: Tensor) -> None:
        fast = compiled(self.network, batch)
        if fast is None or not self._agrees(fast, batch):
            return
        slow, quick = seconds_of(self.device, lambda: self.network(batch), lambda: fast(batch))
        if quick < slow:
            self._compiled, self.form, self._gain = fast, "compiled", slow / quick

    def _agrees(self, fast: Callable[[Tensor], Tensor], batch: Tensor) -> bool:
        plain, quick = self.network(batch), fast(batch)
        if not isinstance(quick, Tensor) or quick.shape != plain.shape:
            return False
        plain, quick = self._chances(plain), self._chances(quick)
        if _distance(quick, plain) <= AGREEMENT:
            return True
        with torch.autocast(self.device.type, enabled=False), exact_convolutions():
            exact = self._chances(self.network(batch))
        return _distance(quick, exact) <= LENIENT * _distance(plain, exact)

    def _chances(self, outputs: Tensor) -> Tensor:
        """Of what the network returned."""
        logits = self.reading.logits(outputs.float())
        return probabilities(logits, self.reading.link)

    def _arithmetic(self) -> torch.autocast | nullcontext:
        if self.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def _run(self, images: Tensor) -> Iterator[tuple[slice, object]]:
        """Outputs part by part; where memory runs out, in smaller parts."""
        held = contents(self.network)  # lists that forward appends to would grow without end
        try:
            yield from self._parts(images)
        finally:
            refill(held)

    def _parts(self, images: Tensor) -> Iterator[tuple[slice, object]]:
        start = 0
        while start < len(images):
            try:
                if self.batch is None:
                    self.batch = fitting_batch(self.network, self._laid(images[:1]), self._forward)
                part = slice(start, start + self.batch)
                batch = self._laid(images[part])
                outputs = self._governed(batch)
                if self.score is None:
                    outputs = self.reading.logits(check_outputs(outputs, len(batch)).float())
            except Exception as error:
                if out_of_memory(error) and self.batch != 1:
                    self.batch = (self.batch or 2) // 2
                    if self.device.type == "cuda":
                        torch.cuda.empty_cache()
                    continue
                if not self._suits_usual_layout(error):
                    raise
                self._layout = torch.contiguous_format
                self.network.to(memory_format=self._layout)
                self.batch = self._wanted
                continue
            if self._compiled is None:
                self._remember(batch)
            self.passes += len(batch)
            start += len(batch)
            yield part, outputs

    def _remember(self, batch: Tensor) -> None:
        kept = self._sample
        if kept is None or batch.shape[1:] != kept.shape[1:] or len(batch) >= len(kept):
            self._sample = batch

    def _suits_usual_layout(self, error: Exception) -> bool:
        """Whether the usual layout may help: networks that call view() on activations need it."""
        return (
            self._layout is torch.channels_last
            and isinstance(error, NetworkError)
            and isinstance(error.__cause__, RuntimeError)
        )

    def _laid(self, images: Tensor) -> Tensor:
        """Images on the device, in the layout of the network."""
        batch = images.to(self.device, self._dtype)
        return batch.contiguous(memory_format=self._layout) if batch.ndim == 4 else batch

    def _forward(self, batch: Tensor) -> object:
        with self._arithmetic():
            sample = self._sample
            if self._compiled is not None and sample is not None:
                short = len(sample) - len(batch)
                # Compiled for one number of images; where few are left, to fill it costs more.
                filled = short >= 0 and len(sample) < len(batch) * self._gain
                if filled and batch.shape[1:] == sample.shape[1:]:
                    whole = torch.cat([batch, sample[:short]]) if short else batch
                    return self._compiled(whole)[: len(batch)]
            return forward(self.network, batch)

    def _confidence(self, outputs: Any, targets: Tensor) -> Tensor:
        if self.score is not None:
            return torch.stack([self.score(row).reshape(()) for row in rows(outputs, len(targets))])
        chances = probabilities(outputs, self.reading.link)
        chances = chances.gather(1, targets.view(len(targets), -1)).float()
        return chances.view(targets.shape)


def _likeliest(outputs: Any) -> Tensor:
    """``[B]`` class of each row of logits; of a single one whether it is positive."""
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
