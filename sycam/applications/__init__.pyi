from .ensembles.ensembling import ensemble
from .ensembles.options import EnsembleOptions
from .ensembles.result import EnsembleResult

__all__ = ["EnsembleOptions", "EnsembleResult", "ensemble"]
