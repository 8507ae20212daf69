"""Metrics made of metrics, and text to metrics."""
