"""Training: the loop, optimisers, checkpoints and records. Imports no method."""

from nearkin.train.config import TrainConfig
from nearkin.train.loop import Trainable, train

__all__ = ["TrainConfig", "Trainable", "train"]
