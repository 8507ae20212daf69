"""Similarity to a text as a target, for networks that return features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import DataError


class Similarity:
    """Cosine similarity of an encoder's image features and a prompt's, for CLIP-like networks.

    With a reference prompt it is the contrast of the two (Finer-CAM's use of CLIP): what makes
    the image look like the one rather than the other.

    Args:
        prompt: ``[D]`` features of the text that is explained.
        reference: ``[D]`` features of the text to contrast with.
        gamma: strength of the contrast.
    """

    def __init__(self, prompt: Tensor, reference: Tensor | None = None, gamma: float = 1.0):
        for given in (prompt, reference):
            if given is not None and not isinstance(given, Tensor):
                raise DataError(
                    f"a prompt's features must be a tensor [D], got {type(given).__name__}"
                )
            if given is not None and (given.ndim != 1 or not bool(torch.isfinite(given).all())):
                raise DataError(
                    f"a prompt's features must be one finite row [D], got {tuple(given.shape)}"
                )
        self.prompt, self.reference, self.gamma = prompt.detach(), reference, gamma

    def __call__(self, features: Tensor) -> Tensor:
        """The scalar of one row of features ``[D]``."""
        if features.shape != self.prompt.shape:
            raise DataError(
                f"the network returned features {tuple(features.shape)}, the prompt has "
                f"{tuple(self.prompt.shape)}"
            )
        score = F.cosine_similarity(features, self.prompt.to(features), dim=0)
        if self.reference is None:
            return score
        other = F.cosine_similarity(features, self.reference.detach().to(features), dim=0)
        return score - self.gamma * other
