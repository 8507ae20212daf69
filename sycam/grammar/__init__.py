"""Which formulas a search may build: notation, productions, counting and sampling."""

from sycam.grammar.grammar import Grammar, load_grammar, read_grammar
from sycam.grammar.productions import Production
from sycam.grammar.source import grammar_names

__all__ = ["Grammar", "Production", "grammar_names", "load_grammar", "read_grammar"]
