"""What a heatmap explains: the scalars of the network's outputs that can be chosen as target."""

from sycam.evidence.class_targets import Contrast, Logit, Probability, ReST, parse_target
from sycam.evidence.similarity import Similarity

__all__ = ["Contrast", "Logit", "Probability", "ReST", "Similarity", "parse_target"]
