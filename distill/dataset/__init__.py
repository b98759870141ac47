"""A folder of sounds: scanned, judged, split, prepared as spectrograms, and read back in batches."""
