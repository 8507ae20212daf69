"""Measuring and scoring by other processes: of this machine, or wherever an executor has them."""
