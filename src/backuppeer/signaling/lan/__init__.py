"""Peers on the same network: announced and found by multicast DNS, asked over a small door of their own (ADR 81)."""
