"""Finished models and what they made: takes and what is near them, checks for memorization, rebuilding."""
