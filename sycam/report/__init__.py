"""Showing the outcome: pictures and the console."""
