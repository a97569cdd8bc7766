"""The host's side of a home: the slot on offer, requests for it, and the store served to owners."""
