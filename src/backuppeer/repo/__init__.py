"""How bytes lie at rest: format v1."""
