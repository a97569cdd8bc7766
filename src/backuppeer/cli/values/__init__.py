"""What may stand behind an option or as an argument, looked at before a verb begins (ADR 91)."""
