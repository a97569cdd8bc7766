"""Commands of the control door, one file per side: what api.py promises, done with the parts of the home."""
