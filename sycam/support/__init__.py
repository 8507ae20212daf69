"""What all rooms may use: digests, files, caches, checked JSON, options."""
