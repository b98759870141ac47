"""Project folders: where they are, the files that make one, and the models in them."""
