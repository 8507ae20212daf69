"""What the network says when the pixels that a heatmap names are removed or kept."""
