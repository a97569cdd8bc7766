"""What a person should know of the whole home: trouble, and the report of a week."""
