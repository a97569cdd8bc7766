"""Meeting other homes: sessions, lanes, names, and what this home thinks of whom it met."""
