"""What a run tells others while it runs, and how it is told to stop; free of torch."""
