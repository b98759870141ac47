"""The files that hold weights: the container that models and checkpoints share, and the `.distill` model file."""
