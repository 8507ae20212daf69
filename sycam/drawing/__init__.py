"""Drawings of arrays: heatmaps on images, fronts and leaderboards."""
