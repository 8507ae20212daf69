"""KPCA-CAM: a first kernel principal component over places.

Each place of the layer is a point with K coordinates, one per channel, centred over places; the
heatmap is the points' first principal component in the kernel's space. Its sign is that of the
operator ``principal``, as scikit-learn's KernelPCA has it: the value of largest magnitude is
positive. It depends on the map alone, neither on the linear algebra library nor on the device.
"""

from __future__ import annotations

import math

import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps, from_sums
from sycam.heatmaps.heatmaps import FLAT
from sycam.metrics import Context

DENSE = 128  # rows of a symmetric matrix above which Lanczos iteration is faster than eigh
TANH_1 = math.tanh(1)


def kpca_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """KPCA-CAM (Karmani et al. 2024): the first kernel principal component of A.

    The kernel is the grad-cam package's default, ``tanh(<a, b> / K + 1)`` of two places' centred
    activations. It saturates: unlike a linear component, the map depends on the scale of A.
    """
    maps = evidence.activations.double()
    # An image at a time: a kernel matrix has as many rows as the layer has places.
    sums = torch.stack([_component(image.flatten(-2).T) for image in maps])
    sums = sums.unflatten(-1, maps.shape[-2:]).to(evidence.activations.dtype)
    return from_sums(sums[None], context.size, evidence.depth)


def _component(points: Tensor) -> Tensor:
    """Scores ``[P]`` of points ``[P,K]``, signed; NaN where the points are not finite."""
    largest = points.abs().amax()
    if not torch.isfinite(largest):
        return points.new_full(points.shape[:1], torch.nan)
    centred = points - points.mean(0)
    if centred.abs().amax() <= FLAT * largest:  # rounding errors of constants
        return torch.zeros_like(points[:, 0])
    component = _scores(centred)
    return -component if -component.min() > component.max() else component


def _scores(points: Tensor) -> Tensor:
    """Scores ``[P]`` of centred points ``[P,K]`` on their first axis in the kernel's space."""
    # In place: a layer of 64 by 64 places has kernels of 134 MB.
    kernel = (points @ points.T).div_(points.shape[1]).tanh_()
    # tanh(z + 1) - tanh(1), of which no digits cancel where z is small; centring removes constants.
    divisor = (TANH_1 * kernel).add_(1)
    kernel.mul_(1 - TANH_1**2).div_(divisor)
    across, down, mean = kernel.mean(0), kernel.mean(1, keepdim=True), kernel.mean()
    kernel.sub_(across).sub_(down).add_(mean)
    value, vector = _leading(kernel)
    # The sigmoid is no positive definite kernel: there may be no positive eigenvalue at all.
    return vector * value.clamp(min=0).sqrt()


def _leading(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue and unit eigenvector ``[m]`` of a symmetric matrix ``[m,m]``, which is
    scaled in place."""
    if len(matrix) <= DENSE:
        values, vectors = torch.linalg.eigh(matrix)
        return values[-1], vectors[:, -1]
    start = torch.randn(len(matrix), generator=torch.Generator().manual_seed(0)).double()
    scale = matrix.abs().amax()  # the iteration stops at an absolute error for small matrices
    values, vectors = eigsh(matrix.div_(scale).cpu().numpy(), 1, which="LA", v0=start.numpy())
    return scale * values[0], torch.from_numpy(vectors[:, 0]).to(matrix.device)
