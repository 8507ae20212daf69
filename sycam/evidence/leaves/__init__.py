"""Leaves that take passes of their own: one number per channel, measured only where it is used."""
