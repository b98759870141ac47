"""New code grids from a prior, and new sounds from them."""

# New sounds are made of the likeliest codes that together have this probability, unless something else is asked for:
# single unlikely ones are seen as specks in spectrograms. Frechet distances of new sounds to held-out ones with all
# codes, 0.95, 0.9 and 0.8 (benchmarks/new_sounds.py, one seed, good to 10): drums 68, 54, 47, 68; tabla strokes 11.7,
# 12.9, 12.8, 16.8. Mixed sounds have 73, 104 and 78 with the first three.
TOP_P = 0.9

# How strongly label and knobs count, unless something else is asked for. With 1 and 3, the share of new sounds that
# have the label that was asked for, one draw (benchmarks/asking.py, mean of three seeds): 74 tabla strokes .64, .77;
# 200 digits .32, .46; 54 one-shots .60, .68; 24 bundled sounds .66, .65. With 5 and 8 digits have .40 and .41.
GUIDANCE = 3.0
