"""Search by example, its precision, and hubs: images that are neighbours of everybody or of nobody."""
