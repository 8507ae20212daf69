"""`sycam doctor`."""
