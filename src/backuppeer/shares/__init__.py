"""Which pack lies with which peer."""
