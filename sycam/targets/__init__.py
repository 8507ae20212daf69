"""What a heatmap explains: the scalars of the network's outputs that can be chosen as target."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
