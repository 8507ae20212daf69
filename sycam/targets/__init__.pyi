from .class_targets import Contrast, Logit, Probability, ReST, parse_target
from .resolve import Target
from .similarity import Similarity

__all__ = ["Contrast", "Logit", "Probability", "ReST", "Similarity", "Target", "parse_target"]
