"""Pictures of heatmaps as files."""
