"""One module per kind of feature network."""
