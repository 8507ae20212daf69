"""A run's folder: its record, its result, what may be read of it."""
