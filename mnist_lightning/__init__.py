"""A digit recogniser's whole life: train, compare, archive, serve, ask."""
