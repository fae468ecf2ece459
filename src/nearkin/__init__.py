"""nearkin: unlabelled images to an honest embedding."""

__version__ = "0.1.0"
