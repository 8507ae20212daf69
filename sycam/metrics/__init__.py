"""Heatmaps to scores."""

from sycam.metrics.adapters.declared import metric
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
from sycam.metrics.composition.composite import Composite
from sycam.metrics.composition.find import find_metric
from sycam.metrics.confidence import (
    HCI,
    AverageDrop,
    AverageGain,
    Complexity,
    DropInDeletion,
    IncreaseInConfidence,
)
from sycam.metrics.context import Candidates, Context
from sycam.metrics.localisation.overlap import Dice, IoU, IoUBestThreshold
from sycam.metrics.localisation.ranking import (
    AUC,
    AveragePrecision,
    EnergyPointingGame,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
)
from sycam.metrics.localisation.surface_distance import HD95
from sycam.metrics.removal.curves import Deletion, Insertion
from sycam.metrics.removal.removal import RelativeDrop, TopKDrop
from sycam.metrics.removal.road import Road, RoadLerf, RoadMorf
from sycam.metrics.robustness.noise import Noise
from sycam.metrics.robustness.responsiveness import Responsiveness
from sycam.metrics.robustness.sanity import ClassSensitivity, Randomisation
from sycam.metrics.robustness.stability import Equivariance, MaxSensitivity
from sycam.metrics.sparseness import Entropy, Sparseness

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
