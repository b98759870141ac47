"""Prefect flows over the stages of the pipeline."""
