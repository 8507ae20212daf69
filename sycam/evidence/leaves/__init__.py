"""The table of leaves, and those that take passes of their own, measured only where used."""
