"""Sans-IO messages, codec and session table."""
