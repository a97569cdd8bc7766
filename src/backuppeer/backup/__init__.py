"""Verbs over files and repo: synchronous, no network."""
