from .ensembles.ensembling import ensemble
from .ensembles.options import EnsembleOptions
from .ensembles.result import EnsembleResult
from .hot_spots.attention import AttentionNetwork
from .hot_spots.options import AblationOptions
from .hot_spots.result import AblationResult
from .hot_spots.study import ablate
from .noise_study.options import RobustnessOptions
from .noise_study.result import RobustnessResult
from .noise_study.study import robustness

__all__ = [
    "AblationOptions",
    "AblationResult",
    "AttentionNetwork",
    "EnsembleOptions",
    "EnsembleResult",
    "RobustnessOptions",
    "RobustnessResult",
    "ablate",
    "ensemble",
    "robustness",
]
