"""The phases of a search: known methods, guesses, enumeration, guided proposals, refinement."""
