"""The owner's side of a home: its repository, its hosts, its heads, and the way to and from them."""
