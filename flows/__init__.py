"""Prefect flows over the stages of the pipeline; used from a project folder."""
