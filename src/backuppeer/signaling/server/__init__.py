"""The signaling server, deployable alone."""
