"""CAMs that are a first principal component over places: Eigen-CAM and its relatives.

Each place of the layer is a point with K coordinates, one per channel, centred over places (as the
grad-cam package does); the heatmap is the points' first principal component. A component has no
sign of its own, and the papers leave it open: a plain decomposition may as well show the
background. Ours has the sign for which the value of largest magnitude is positive: the
rule of Seg-Eigen-CAM (Chung and Ying, Applied Sciences 15(13), 2025, equation 13) and of
scikit-learn's KernelPCA. What stands out most, an object on a larger background, is then bright.
It depends on the map alone, neither on the linear algebra library nor on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps, from_sums
from sycam.heatmaps.heatmaps import FLAT
from sycam.metrics import Context

DENSE = 128  # rows of a symmetric matrix above which Lanczos iteration is faster than eigh
TANH_1 = math.tanh(1)


def eigen_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Eigen-CAM (Muhammad and Yeasin 2020): the first principal component of A."""
    return _heatmaps(evidence.activations.double(), evidence, context, _linear_scores)


def eigen_grad_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Eigen-Grad-CAM (the grad-cam package): the first principal component of G * A."""
    product = evidence.gradients.double() * evidence.activations.double()
    return _heatmaps(product, evidence, context, _linear_scores)


def seg_eigen_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Seg-Eigen-CAM (Chung and Ying 2025): the first principal component of |G| * A."""
    product = evidence.gradients.double().abs() * evidence.activations.double()
    return _heatmaps(product, evidence, context, _linear_scores)


def kpca_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """KPCA-CAM (Karmani et al. 2024): the first kernel principal component of A.

    The kernel is the package's default, ``tanh(<a, b> / K + 1)`` of two places' centred
    activations. It saturates: unlike the others, the map depends on the scale of A.
    """
    return _heatmaps(evidence.activations.double(), evidence, context, _kernel_scores)


def _heatmaps(
    maps: Tensor,
    evidence: Evidence,
    context: Context,
    scores: Callable[[Tensor], Tensor],
) -> Heatmaps:
    # An image at a time: a kernel matrix has as many rows as the layer has places.
    sums = torch.stack([_component(image.flatten(-2).T, scores) for image in maps])
    sums = sums.unflatten(-1, maps.shape[-2:]).to(evidence.activations.dtype)
    return from_sums(sums[None], context.size, evidence.depth)


def _component(points: Tensor, scores: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores ``[P]`` of points ``[P,K]``, signed; NaN where the points are not finite."""
    largest = points.abs().amax()
    if not torch.isfinite(largest):
        return points.new_full(points.shape[:1], torch.nan)
    centred = points - points.mean(0)
    if centred.abs().amax() <= FLAT * largest:  # rounding errors of constants
        return torch.zeros_like(points[:, 0])
    component = scores(centred)
    return -component if -component.min() > component.max() else component


def _linear_scores(points: Tensor) -> Tensor:
    """Scores ``[P]`` of centred points ``[P,K]`` on their first principal axis, up to scale."""
    points = points / points.abs().amax()
    # The smaller of the two Gram matrices has the same leading component.
    if points.shape[0] <= points.shape[1]:
        return _leading(points @ points.T)[1]
    return points @ _leading(points.T @ points)[1]


def _kernel_scores(points: Tensor) -> Tensor:
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
