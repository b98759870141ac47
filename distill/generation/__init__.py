"""New code grids from a prior, and new sounds from them."""

# New sounds are made of the likeliest codes that together have this probability, unless something else is asked for:
# single unlikely ones are heard as specks. Frechet distances of 192 new drums to held-out ones, as the benchmark of new
# sounds has them: 68 with all codes, 54 with 0.95, 47 with 0.9, 68 with 0.8; of tabla strokes 11.7, 12.9, 12.8, 16.8.
TOP_P = 0.9
