"""Texts of exported modules, which need torch alone; parts of them are replaced."""
