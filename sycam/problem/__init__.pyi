from .explained_network import ExplainedNetwork
from .images import Images, Labels, Masks

__all__ = ["ExplainedNetwork", "Images", "Labels", "Masks"]
