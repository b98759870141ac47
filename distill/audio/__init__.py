"""Sounds and their spectrograms: read, write, resample, mel, augment, invert."""
