"""The only room that knows the others form one system."""
