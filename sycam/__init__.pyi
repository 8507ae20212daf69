from . import testing, track
from .data.images import ImageSet, load_images, open_images
from .data.readers.in_memory import open_pictures
from .errors import SycamError
from .jobs.evaluation import Table, evaluate
from .jobs.recommendation import recommend
from .jobs.synthesis import synthesize
from .jobs.verification import verify
from .language import operator
from .methods import CAM
from .metrics import metric
from .networks import open_network
from .problem.adaptive_cam import AdaptiveCAM
from .problem.options import DataOptions, ExplainOptions
from .report.recommended import Recommendation
from .runs.checking.verify import Verification
from .runs.result import Formula, Result, load
from .search import SearchOptions
from .search.layer_weights import LayerWeights, learn_fusion
from .version import __version__

__all__ = [
    "CAM",
    "AdaptiveCAM",
    "DataOptions",
    "ExplainOptions",
    "Formula",
    "ImageSet",
    "LayerWeights",
    "Recommendation",
    "Result",
    "SearchOptions",
    "SycamError",
    "Table",
    "Verification",
    "__version__",
    "evaluate",
    "learn_fusion",
    "load",
    "load_images",
    "metric",
    "open_images",
    "open_network",
    "open_pictures",
    "operator",
    "recommend",
    "synthesize",
    "testing",
    "track",
    "verify",
]
