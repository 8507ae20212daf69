"""Texts of exported modules for other libraries, which need not be installed here."""
