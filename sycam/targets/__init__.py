"""What a heatmap explains: the scalars of the network's outputs that can be chosen as target."""

from sycam.targets.class_targets import Contrast, Logit, Probability, ReST, parse_target
from sycam.targets.similarity import Similarity

__all__ = ["Contrast", "Logit", "Probability", "ReST", "Similarity", "parse_target"]
