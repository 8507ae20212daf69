"""Whether heatmaps hold still under tiny changes of the image, and move with it."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.perturbation import between, count_of, one_of
from sycam.metrics.robustness.correlation import pearson
from sycam.metrics.robustness.noise import Noise


@register
class MaxSensitivity(Metric):
    """``max_u |L(x + u) - L(x)| / |L(x)|`` over u drawn from an L-infinity ball."""

    name = "max-sensitivity"
    summary = "largest relative change of the heatmap under imperceptible noise"
    source = "Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019"
    family = "robustness"
    definition = (
        "The largest of |L(x + u) - L(x)| / |L(x)| (Frobenius norms) over `samples` draws of u, "
        "each entry uniform in [-r, r], r = `radius` times the range of the image's values; the "
        "class explained stays that of the clean image. Captum computes the same with an absolute "
        "radius, Quantus with 200 samples and 0.2. A map that ranks nothing is scored as the "
        "random map that stands in for it: about 1, never 0."
    )
    formula = r"\max_{\|u\|_\infty \le r} \frac{\|L(x + u) - L(x)\|_F}{\|L(x)\|_F}"
    traps = (
        "A map that ignores the image, a blob at the centre, scores 0, the best. Optimise it "
        "beside a faithfulness metric, or use it as a requirement."
    )
    higher_is_better = False
    range = (0.0, math.inf)

    def __init__(self, radius: float = 0.02, samples: int = 10):
        """
        Args:
            radius: of the ball, as a share of the range of each image's values.
            samples: perturbations drawn for each image.
        """
        count_of("samples", samples)
        self.radius, self.samples = radius, samples
        self._noises = [Noise("uniform", radius, index) for index in range(samples)]

    @property
    def shared_measurements(self) -> int:
        return self.samples

    @property
    def options(self) -> dict[str, object]:
        return {"radius": self.radius, "samples": self.samples}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        worst = maps.new_zeros(maps.shape[:2])
        for noise in self._noises:
            noisy = again.heatmaps(f"{__name__}: {noise}", partial(noise.applied, context))
            worst = torch.maximum(worst, _norm(noisy - maps))
        norm = _norm(maps)
        return worst / torch.where(norm > 0, norm, 1.0)


def _norm(maps: Tensor) -> Tensor:
    return maps.flatten(2).norm(dim=-1)


AMOUNTS = {"flip": None, "translate": 1 / 8, "rotate": 15.0}


@register
class Equivariance(Metric):
    """``(1 + Pearson(L(t(x)), t(L(x)))) / 2``."""

    name = "equivariance"
    summary = "whether the heatmap moves with the image when that is flipped, shifted or turned"
    source = (
        "Crabbé and van der Schaar, Evaluating the Robustness of Interpretability Methods through "
        "Explanation Invariance and Equivariance, NeurIPS 2023"
    )
    family = "robustness"
    definition = (
        "Pearson correlation r of L(t(x)) and t(L(x)) over the pixels of t(x) that come from "
        "inside x, as (1 + r) / 2; r is 0 where one of them is flat there. `transform` is flip "
        "(left to right), translate (down and to the right by `amount` of the shorter side, edges "
        "repeated) or rotate (in the plane by `amount` degrees, bilinear, edges repeated). The "
        "class explained stays that of x. The paper takes the cosine, which says little of maps "
        "without negative values: it is high for any two."
    )
    formula = r"\frac{1 + \operatorname{corr}\left(L(t(x)),\, t(L(x))\right)}{2}"
    traps = (
        "A map that is symmetric about the centre and ignores the image scores 1 under flip. The "
        "network itself may not be equivariant: compare candidates, not networks."
    )
    shared_measurements = 1

    def __init__(self, transform: str = "flip", amount: float | None = None):
        """
        Args:
            transform: ``"flip"``, ``"translate"`` or ``"rotate"``.
            amount: share of the shorter side to shift by, below 0.5 (1/8 if None); degrees to
                turn by, counter-clockwise, below 180 (15 if None); none for a flip.
        """
        self.transform = one_of("transform", transform, tuple(AMOUNTS))
        self.amount = AMOUNTS[transform] if amount is None else amount
        self._check_amount()

    def _check_amount(self) -> None:
        if self.transform == "flip":
            if self.amount is not None:
                raise OptionError(f"a flip takes no amount, got {self.amount!r}; leave it out")
            return
        low, high = (0, 0.5) if self.transform == "translate" else (-180, 180)
        if not between(self.amount, low, high) or self.amount == 0:
            raise OptionError(
                f"the amount to {self.transform} by must lie between {low} and {high} and not be "
                f"0, got {self.amount!r}"
            )

    @property
    def options(self) -> dict[str, object]:
        return {"transform": self.transform, "amount": self.amount}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        turned = again.heatmaps(
            f"{__name__}: {self.transform} {self.amount!r}", lambda: self._moved(context.images)
        )
        inside = self._inside(maps)
        expected = self._moved(maps)
        r = pearson(turned[..., inside].flatten(2), expected[..., inside].flatten(2))
        return (1 + r) / 2

    def _moved(self, t: Tensor) -> Tensor:
        """The transform of ``[..., H, W]`` in its last two dimensions."""
        if self.transform == "flip":
            return t.flip(-1)
        if self.transform == "translate":
            rows, columns = (i.clamp(min=0) for i in self._shifted(t))
            return t[..., rows[:, None], columns]
        turned = F.grid_sample(
            t.reshape(1, -1, *t.shape[-2:]),
            self._grid(t),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        return turned.view(t.shape)

    def _inside(self, t: Tensor) -> Tensor:
        """``[H,W]`` bool: which pixels of the result come from inside."""
        if self.transform == "flip":
            return torch.ones(t.shape[-2:], dtype=torch.bool, device=t.device)
        if self.transform == "translate":
            rows, columns = self._shifted(t)
            return (rows >= 0)[:, None] & (columns >= 0)
        sides = torch.tensor([t.shape[-1], t.shape[-2]], device=t.device)
        # Centres of pixels lie half a pixel from the border; rounding may move them a little.
        return (self._grid(t)[0].abs() * sides <= sides - 1 + 1e-3).all(-1)

    def _shifted(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The row, and column, that each comes from."""
        shift = max(1, round(self.amount * min(t.shape[-2:])))
        rows, columns = (torch.arange(side, device=t.device) - shift for side in t.shape[-2:])
        return rows, columns

    def _grid(self, t: Tensor) -> Tensor:
        """``[1,H,W,2]`` where each pixel comes from, in the coordinates of ``grid_sample``."""
        assert self.amount is not None  # only a flip has none
        angle = math.radians(self.amount)
        y, x = torch.meshgrid(
            *(torch.arange(s, device=t.device, dtype=t.dtype) - (s - 1) / 2 for s in t.shape[-2:]),
            indexing="ij",
        )
        # Rows count downwards, so that this turns the image counter-clockwise.
        from_x = math.cos(angle) * x - math.sin(angle) * y
        from_y = math.sin(angle) * x + math.cos(angle) * y
        return torch.stack([2 * from_x / t.shape[-1], 2 * from_y / t.shape[-2]], -1)[None]
