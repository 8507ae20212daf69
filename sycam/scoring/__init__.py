"""Candidates to scores: per image, block by block, kept in a journal, with their statistics."""
