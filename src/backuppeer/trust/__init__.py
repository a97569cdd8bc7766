"""What this machine believes about others."""
