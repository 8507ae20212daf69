"""The jobs: a search, scoring without one, published CAMs at all layers, a run derived again."""
