"""Readers of images, one per form that they come in."""
