"""Datasets and models that are kept, versioned and found again."""
