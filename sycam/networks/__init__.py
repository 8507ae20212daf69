"""Networks by name: libraries, users' files, checkpoints; with their preprocessing and classes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
