"""Measuring and scoring by other processes: on this machine, or wherever an executor of the user's has them."""
