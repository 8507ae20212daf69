"""The version of SyCAM."""

__version__ = "0.1.0"
