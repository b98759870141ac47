"""Checks whether a model gives back its training sounds instead of new ones."""
