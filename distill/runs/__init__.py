"""Runs: the folders in which models are trained; created, locked, followed, published and removed."""
