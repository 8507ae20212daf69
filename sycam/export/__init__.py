"""A formula handed over: a Python module for torch or a library of CAMs, or one graph."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
