"""Encoders and projectors. An encoder maps (B, 3, S, S) to named feature layers."""

from nearkin.nets.encoder import Encoder, create_encoder, encoder_names
from nearkin.nets.heads import projector

__all__ = ["Encoder", "create_encoder", "encoder_names", "projector"]
