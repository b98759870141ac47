"""A trained model in use: sounds to code grids and back."""
