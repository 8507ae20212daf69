"""MetaCAM: which of several CAMs agree best, and how much each of them adds."""
