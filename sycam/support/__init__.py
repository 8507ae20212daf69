"""The ground that all rooms stand on: digests, files, caches, checked JSON, compiled C."""
