"""The network as a fast, frozen function: batches, folded layers, compilation, threads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
