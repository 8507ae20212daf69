"""The C files of the package made into libraries."""
