from .adversarial_training.accuracy import RobustAccuracy
from .adversarial_training.adversarial import AdversarialImages
from .adversarial_training.attacking import adversarial_images
from .adversarial_training.evaluating import robust_accuracy
from .adversarial_training.options import AttackOptions, BudgetOptions, TrainingOptions
from .adversarial_training.result import PartResult
from .adversarial_training.training import part
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
from .segmentation.evaluation import SegmentationScores, segmentation_scores
from .segmentation.options import MaskOptions, SegmentOptions
from .segmentation.prediction import Segmentation, segment
from .segmentation.segmenter import Segmenter
from .segmentation.teaching import train_segmenter

__all__ = [
    "AblationOptions",
    "AblationResult",
    "AdversarialImages",
    "AttackOptions",
    "AttentionNetwork",
    "BudgetOptions",
    "EnsembleOptions",
    "EnsembleResult",
    "MaskOptions",
    "PartResult",
    "RobustAccuracy",
    "RobustnessOptions",
    "RobustnessResult",
    "SegmentOptions",
    "Segmentation",
    "SegmentationScores",
    "Segmenter",
    "TrainingOptions",
    "ablate",
    "adversarial_images",
    "ensemble",
    "part",
    "robust_accuracy",
    "robustness",
    "segment",
    "segmentation_scores",
    "train_segmenter",
]
