"""Heatmaps to scores."""

from sycam.metrics.axioms import ConservationAxiom, SensitivityAxiom
from sycam.metrics.base import (
    EXACT,
    METRICS,
    POSITIVE_SCALE,
    RANKING,
    WEIGHTS,
    Metric,
    register,
)
from sycam.metrics.coherency import ADCC, ARCC, Coherency
from sycam.metrics.composition import Composite
from sycam.metrics.confidence import (
    HCI,
    AverageDrop,
    AverageGain,
    Complexity,
    DropInDeletion,
    IncreaseInConfidence,
)
from sycam.metrics.context import Candidates, Context
from sycam.metrics.curves import Deletion, Insertion
from sycam.metrics.custom import metric
from sycam.metrics.guards import ClassSensitivity, Randomisation
from sycam.metrics.localisation import Dice, IoU, IoUBestThreshold
from sycam.metrics.naming import find_metric
from sycam.metrics.noise import Noise
from sycam.metrics.pixel_ranking import (
    AUC,
    AveragePrecision,
    EnergyPointingGame,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
)
from sycam.metrics.removal import RelativeDrop, TopKDrop
from sycam.metrics.responsiveness import Responsiveness
from sycam.metrics.road import Road, RoadLerf, RoadMorf
from sycam.metrics.sparseness import Entropy, Sparseness
from sycam.metrics.stability import Equivariance, MaxSensitivity
from sycam.metrics.surface_distance import HD95

__all__ = [
    "ADCC",
    "ARCC",
    "AUC",
    "EXACT",
    "HCI",
    "HD95",
    "METRICS",
    "POSITIVE_SCALE",
    "RANKING",
    "WEIGHTS",
    "AverageDrop",
    "AverageGain",
    "AveragePrecision",
    "Candidates",
    "ClassSensitivity",
    "Coherency",
    "Complexity",
    "Composite",
    "ConservationAxiom",
    "Context",
    "Deletion",
    "Dice",
    "DropInDeletion",
    "EnergyPointingGame",
    "Entropy",
    "Equivariance",
    "IncreaseInConfidence",
    "Insertion",
    "IoU",
    "IoUBestThreshold",
    "MaxSensitivity",
    "Metric",
    "Noise",
    "PointingGame",
    "Randomisation",
    "RelativeDrop",
    "RelevanceMassAccuracy",
    "RelevanceRankAccuracy",
    "Responsiveness",
    "Road",
    "RoadLerf",
    "RoadMorf",
    "SensitivityAxiom",
    "Sparseness",
    "TopKDrop",
    "find_metric",
    "metric",
    "register",
]
