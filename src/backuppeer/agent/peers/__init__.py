"""Meeting other homes: sessions, lanes, names."""
