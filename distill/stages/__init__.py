"""The steps of the pipeline: plain functions of a workspace, its parameters and listeners."""
