"""Models that are found again: files, and names with versions in the registry of MLflow."""
