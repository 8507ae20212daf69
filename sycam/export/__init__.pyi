from .target import ExportTarget, Winner
from .targets import TARGETS
from .writing import export, suggested_base

__all__ = ["TARGETS", "ExportTarget", "Winner", "export", "suggested_base"]
