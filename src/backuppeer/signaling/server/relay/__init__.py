"""Relay, observers and who may use them (ADR 77, 78)."""
