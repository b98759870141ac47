"""The networks, their losses and the health of their codebooks."""
