"""Nearest neighbours: exact, cached, and by approximate or distributed engines."""
