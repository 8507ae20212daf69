"""Which candidates see more images, and which drop out."""
