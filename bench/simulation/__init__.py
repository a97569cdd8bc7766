"""A year of honest peers and attackers over the real trust code, to see whether its scores mean something."""
