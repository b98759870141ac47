"""Processes: the one that works in a run folder, those that it starts, and the servers beside them."""
