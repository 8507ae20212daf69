"""Which candidates, in which order, when to stop, and which one wins."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
