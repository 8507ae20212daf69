from .ensembles.ensembling import ensemble
from .ensembles.options import EnsembleOptions
from .ensembles.result import EnsembleResult
from .noise_study.options import RobustnessOptions
from .noise_study.result import RobustnessResult
from .noise_study.study import robustness

__all__ = [
    "EnsembleOptions",
    "EnsembleResult",
    "RobustnessOptions",
    "RobustnessResult",
    "ensemble",
    "robustness",
]
