"""Finding each other through servers that learn as little as possible."""
