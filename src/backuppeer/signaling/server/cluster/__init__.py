"""The state of a signaling service that several nodes share, in a Valkey (ADR 73)."""
