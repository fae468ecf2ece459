"""A finished run's encoder as a file for other programs."""
