"""What each export target is for, in words: the command's help shows them without torch."""

from collections.abc import Mapping
from types import MappingProxyType

SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "torch": "a class that needs torch alone",
        "grad-cam": "a BaseCAM of pytorch-grad-cam",
        "torchcam": "an extractor of TorchCAM",
        "captum": "a LayerAttribution of Captum",
        "quantus": "an explain_func of Quantus",
        "onnx": "network and heatmaps in one ONNX graph, where the formula needs no gradient",
        "torch-export": "the same as a program of torch.export",
        "adaptive": "a class that chooses a formula image by image; it needs SyCAM",
    }
)
