"""Every expression of a grammar, cheapest first, each meaning once."""
