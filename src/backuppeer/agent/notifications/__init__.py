"""Notifications: what a person is told of trouble where they are not at this machine (ADR 89)."""
