"""How well a heatmap finds the object that a mask marks."""
