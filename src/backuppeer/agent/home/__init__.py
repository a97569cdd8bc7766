"""What one home keeps: its folder, keys, settings, state and log."""
