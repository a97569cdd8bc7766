"""Limits of a look at everything at once (`doctor`). See `limits`."""

from typing import Final

from backuppeer.limits.units import GIB, MIB

DOCTOR_S: Final = 5.0
"""What one link of the chain may take to answer: all are asked side by side, and nothing hangs."""
DOCTOR_GRACE_S: Final = 1.0
"""How much longer the agent's own answer, that a peer gave none within DOCTOR_S, is waited for."""
DOCTOR_PEERS: Final = 64
"""Hosts that are asked at once; whoever has more is told how many were left out."""
HOME_FULL_BYTES: Final = 64 * MIB
"""Less free than this where the home lies, and the index of the next backup may not be written."""
HOME_LOW_BYTES: Final = 1 * GIB
CLOCK_AGREES_S: Final = 60.0
"""Clocks that differ by more are told of: times in lists are off by as much."""
CLOCK_TOLD_S: Final = 100 * 365 * 86_400.0
"""No peer's clock counts as further off: one that was never set stands at 1970, what says more says nonsense."""
BACKUP_OLD_S: Final = 30 * 86_400
"""A newest snapshot that is older is told of, where no schedule makes the next: somebody forgot."""
BUNDLE_LINES: Final = 200
"""Lines of the agent's log that a report takes along, the last ones."""
BUNDLE_READ_BYTES: Final = 256 * 1024
"""How much of the log's end they are looked for in."""
BUNDLE_TEXT_CHARS: Final = 500
"""Of one text in a report."""
