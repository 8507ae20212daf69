"""A run that is asked for again: refused, gone on with, or answered from its folder."""
