"""Two-dimensional maps of an embedding, and how honest they are."""
