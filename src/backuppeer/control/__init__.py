"""The agent's door: commands and events over a Unix socket; knows shapes, not deeds."""
