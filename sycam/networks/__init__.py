"""Networks: where they come from, what they return, and leaving no trace on them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
