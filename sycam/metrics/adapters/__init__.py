"""Metrics that are written elsewhere: by users, in Quantus, for torchmetrics."""
