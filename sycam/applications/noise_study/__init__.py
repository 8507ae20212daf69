"""Noise study: how still CAMs hold, and how readily they move, over kinds and levels of noise."""
