"""Which candidate wins, and how sure that is."""
