"""The winner on images that the search never saw."""
