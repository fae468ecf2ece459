"""Training: the loop, optimisers, checkpoints and records. Imports no method."""
