"""New code grids from a prior, and new sounds from them."""

# New sounds are made of the likeliest codes that together have this probability, unless something else is asked for:
# single unlikely ones are heard as specks. FIGURES
TOP_P = 0.9
