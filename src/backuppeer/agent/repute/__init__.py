"""What this home thinks of others, and why: the trust room as the agent asks it."""
