"""What this machine keeps for others."""
