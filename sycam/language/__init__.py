"""What a formula is: operators, expressions, parsing, printing, canonical form, size."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
