"""A run derived again and compared with what it claims."""
