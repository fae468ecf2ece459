"""Near-duplicates: neighbours in the embedding, checked on the pixels, with a calibrated score."""
