"""Shapes of `status --seen`: alarms that a person has taken note of (control.api, DESIGN 5).

Knows: the result struct. Must not know: the agent, the terminal, what an alarm is about.
"""

import msgspec


class SeenAlarms(msgspec.Struct, kw_only=True):
    """What is not repeated from now on, each in a sentence; it is told again when more of its kind happens."""

    seen: list[str]
