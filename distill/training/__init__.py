"""One training loop for both models, its checkpoints and its configurations."""
