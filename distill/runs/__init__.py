"""Runs: the folders in which models are trained, whoever trains in them; made, locked, found, followed, removed."""
