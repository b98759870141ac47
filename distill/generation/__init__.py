"""New code grids from a prior, and new sounds from them."""
