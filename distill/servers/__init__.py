"""Servers on this machine: what lets their owner in, and Prefect's with what belongs to it."""
