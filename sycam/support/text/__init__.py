"""Text for people: safe on a terminal, short enough, in tables, without passwords."""
