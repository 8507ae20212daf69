"""What is asked: the network explained, its images, the metric and the space of formulas."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
