"""What is done with CAMs once there are some: each application on the public interface alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
