"""What the verb `mount` shows the kernel: snapshots as folders, asked of the agent bit by bit (ADR 33)."""
