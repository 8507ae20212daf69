"""Hot spots: the regions that a CAM marks, and what the network says without them."""
