"""Faster forward passes of a fixed network: batch size, folded batch norms, compilation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from sycam.errors import NetworkError
from sycam.inference.threads import allowed_threads
from sycam.networks.backward import scripted
from sycam.networks.outputs import tensors
from sycam.networks.untouched import copied
from sycam.support.caches import keep_compiled_private

CACHE = 2**22  # bytes for an average layer's output on a CPU: what the caches of two cores hold
CPU_BATCHES = (4, 128)
GPU_BATCHES = (4, 512)
GPU_SHARE = 1 / 32  # of the GPU's memory for the largest layer's output; several are alive at once

COMPILE_SECONDS = 8.0, 0.15  # to start the compiler, and for each module with parameters
SAVED = 0.2  # share of torch's own time that a compiled network usually saves
MARGIN = 1.5  # what compiling must save, as a multiple of what it costs


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what caused it, says that memory ran out."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
            return True  # what torch's CPU allocator says
        error = error.__cause__
    return False


def fitting_batch(network: nn.Module, image: Tensor, run: Callable[[Tensor], object]) -> int:
    """Images a forward pass: a power of two, from the outputs of the layers for one image.

    On a CPU an average one, for all images of a batch, should stay in the caches (of 4 to 128
    images, measured on five networks, that gives the fastest number); on a GPU the largest must
    leave memory for others. It does not depend on how busy the machine is.

    Args:
        network: watched while it runs.
        image: ``[1,...]``.
        run: the forward pass.
    """
    sizes: list[int] = []

    def watch(_module: nn.Module, _inputs: object, output: object) -> None:
        sizes.extend(tensor.nbytes for tensor in tensors(output))

    gpu = image.device.type == "cuda"
    # The average is of leaves, each output once; the largest may be made between them.
    layers = [m for m in network.modules() if not scripted(m) and (gpu or not [*m.children()])]
    handles = [module.register_forward_hook(watch) for module in layers]
    try:
        run(image)
    except NetworkError as error:
        if out_of_memory(error):
            raise
        # Running the whole batch will say so better.
    finally:
        for handle in handles:
            handle.remove()
    largest = max([image.nbytes, *sizes])
    if gpu:
        room = torch.cuda.get_device_properties(image.device).total_memory * GPU_SHARE
        least, most = GPU_BATCHES
        fits = room // largest
    else:
        least, most = CPU_BATCHES
        least = max(least, allowed_threads())
        fits = CACHE * len(sizes) // max(sum(sizes), 1) if sizes else CACHE // largest
    fits = int(min(max(fits, least), most))
    return 1 << (fits.bit_length() - 1)


class OwnTracer(fx.Tracer):
    """Traces this thread's calls; torch patches all modules' while it traces."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def folded(network: nn.Module) -> nn.Module | None:
    """The network with its batch norms folded into the convolutions before them, or None where
    torch cannot trace it or there is none. The network is left as it is."""
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()):
        return None
    from torch.fx.experimental.optimization import fuse  # slow to import, and seldom needed

    try:
        twin = copied(network)
        traced = fx.GraphModule(twin, OwnTracer().trace(twin))
        return fuse(traced, no_trace=True).requires_grad_(False)
    except Exception:  # whatever a user's forward does that cannot be traced
        return None


def compiling_pays(network: nn.Module, seconds: float, saved: float = SAVED) -> bool:
    """Whether compiling saves more than it costs, if the passes planned take so many seconds.

    Args:
        network: to compile.
        seconds: that the passes take without.
        saved: share of them that compiling saves.
    """
    start, each = COMPILE_SECONDS
    modules = sum(next(m.parameters(recurse=False), None) is not None for m in network.modules())
    return seconds * saved > MARGIN * (start + each * modules)


def compiled(network: nn.Module, batch: Tensor) -> Callable[[Tensor], Tensor] | None:
    """The network compiled for batches of one shape, its weights as constants; None where the
    compiler fails or is not there. On a GPU it is recorded as a CUDA graph, which saves the
    launches of small networks: outputs hold only until the next call. On a CPU it runs on as many
    threads as torch takes at the time of a call."""
    import torch._inductor.config as inductor  # slow to import, and seldom needed

    keep_compiled_private()
    options: dict[str, Any] = {
        "triton.cudagraphs": batch.device.type == "cuda",
        "cpp.dynamic_threads": True,
    }
    if hasattr(torch.compiler, "skip_guard_on_globals_unsafe"):  # older ones compile again
        options["guard_filter_fn"] = _for_any_number_of_threads
    try:
        fast = torch.compile(network, dynamic=False, options=options)
        with inductor.patch(freezing=True), torch.no_grad():
            fast(batch)
    except Exception:  # no compiler, or operations that it does not know
        return None
    return fast


def _for_any_number_of_threads(guards: Sequence[Any]) -> list[bool]:
    """All that torch checks before it runs a compiled network, but for the state of the process:
    it would compile again for each number of threads, and nothing else of it changes here."""
    return [guard.guard_type != "GLOBAL_STATE" for guard in guards]


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions and products on a GPU without TensorFloat-32, as a reference."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def seconds_of(device: torch.device, *works: Callable[[], object], repeats: int = 5) -> list[float]:
    """The least wall-clock time of each work, run in turn, so that other load on the machine meets
    all alike; a first round is not counted."""
    rounds = []
    for _ in range(repeats + 1):
        times = []
        for work in works:
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
        rounds.append(times)
    return [min(times) for times in zip(*rounds[1:], strict=True)]
