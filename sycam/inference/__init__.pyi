from .acceleration import out_of_memory
from .classifier import Classifier
from .precisions import FLOAT32
from .threads import sharing_cores

__all__ = ["FLOAT32", "Classifier", "out_of_memory", "sharing_cores"]
