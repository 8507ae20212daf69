"""SyCAM: metric-guided synthesis of class activation maps.

Name the property that a heatmap should have; SyCAM searches the formulas of a grammar for the one
that has it most on your network and images, and shows held-out evidence for it.
"""

from sycam import testing, track
from sycam.data.images import ImageSet, load_images, open_images
from sycam.data.in_memory import open_pictures
from sycam.errors import SycamError
from sycam.evaluation import Table, evaluate
from sycam.language import operator
from sycam.methods import CAM
from sycam.metrics import metric
from sycam.networks import open_network
from sycam.problem.adaptive_cam import AdaptiveCAM
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.runs.result import Formula, Result, load
from sycam.runs.verify import Verification, verify
from sycam.search import SearchOptions
from sycam.search.layer_weights import LayerWeights, learn_fusion
from sycam.synthesis import synthesize
from sycam.version import __version__

__all__ = [
    "CAM",
    "AdaptiveCAM",
    "DataOptions",
    "ExplainOptions",
    "Formula",
    "ImageSet",
    "LayerWeights",
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
    "synthesize",
    "testing",
    "track",
    "verify",
]
