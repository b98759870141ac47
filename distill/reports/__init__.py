"""Pages about datasets: what one holds, and how two of them differ."""
