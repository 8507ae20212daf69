"""Ray as an executor: tasks of a cluster, or of this machine where none is named."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sycam.errors import OptionError


class RayExecutor:
    """Carries tasks out by Ray, which is joined, or started, where that was not done.

    ``RAY_ADDRESS`` names the cluster, as everywhere in Ray. What is lost is given out again by the
    run itself, so Ray tries each task once.

    Args:
        workers: how many cores of the cluster are used; all if None.

    Raises:
        OptionError: Ray is not installed, or cannot be had.
    """

    def __init__(self, workers: int | None = None):
        try:
            import ray
        except ImportError:
            raise OptionError("Ray is not installed: pip install 'sycam[ray]'") from None
        try:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False)
            cores = int(ray.cluster_resources().get("CPU", 1))
        except Exception as error:  # whatever Ray says of a cluster that is not there
            raise OptionError(
                f"Ray cannot be had: {type(error).__name__}: {error}; RAY_ADDRESS names a cluster, "
                "without it Ray starts on this machine"
            ) from error
        self.max_workers = cores if workers is None else min(workers, cores)
        self._call = ray.remote(num_cpus=1, max_retries=0)(_call)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """See :class:`sycam.workers.pools.Executor`."""
        return self._call.remote(function, *arguments).future()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
