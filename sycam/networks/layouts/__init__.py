"""How the output of a layer lies over the image: told of any network, and made a map."""
