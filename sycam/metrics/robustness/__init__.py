"""Whether heatmaps hold still under noise, and change with the class and the network."""
