"""Tables of what there is: methods, metrics, grammars."""
