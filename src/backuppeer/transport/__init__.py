"""Moves bytes between peers and knows no message."""
