"""Limits of notifications: how many, how large, how often. See `limits`."""

from typing import Final

from backuppeer.limits.units import KIB, MIB

NOTIFY_URLS: Final = 8
"""Places that are told; each costs a connection for every notification."""
NOTIFY_URL_CHARS: Final = 2_000
NOTIFY_LOOK_S: Final = 300.0
"""How often trouble is looked for, and what could not be sent is tried again."""
NOTIFY_AFTER_S: Final = 3 * 86_400
"""A set that was not backed up for so long is told of, unless `notify.after` says otherwise."""
NOTIFY_AFTER_LEAST_S: Final = 3_600
NOTIFY_FAILURES: Final = 3
"""So many tries of a scheduled backup fail in a row before it is told: half an hour, so a host that restarts is not."""
NOTIFY_AWAY_S: Final = 3 * 86_400
"""A host that was not met for so long is told of; the weekend of a machine at work is not."""
NOTIFY_AGAIN_S: Final = 7 * 86_400
"""What goes on is told again after so long."""
NOTIFY_CALM_S: Final = 3_600
"""A trouble has to be gone for so long before it is told as solved: failures are counted anew when the agent starts."""
NOTIFY_KNOWN: Final = 500
"""Troubles that are remembered as told; beyond, the oldest are told anew."""
NOTIFY_PER_DAY: Final = 12
"""Notifications of trouble within a day. What comes beyond waits, and is told together."""
NOTIFY_LATEST_S: Final = 4 * 3_600
"""How long it waits beyond: whoever brings much trouble about hides no other for a day."""
NOTIFY_PER_TROUBLE: Final = 3
"""How often one trouble is told within a day, however often it changes, or comes and goes."""
NOTIFY_LINES: Final = 8
"""Troubles told one by one in a notification; the rest are counted."""
NOTIFY_LINE_CHARS: Final = 400
NOTIFY_BODY_CHARS: Final = 3_500
"""ntfy takes 4,096 bytes, others cut or refuse what is longer."""
NOTIFY_PENDING: Final = 64
"""Notifications that wait to be sent, one for each place; beyond, the oldest are dropped."""
NOTIFY_KEPT_S: Final = 7 * 86_400
"""What could not be sent for so long is news no more."""
NOTIFY_RETRY_S: Final = 300.0
NOTIFY_RETRY_MOST_S: Final = 6 * 3_600.0
NOTIFY_SEND_S: Final = 60.0
"""How long the process that sends may take for all places together."""
NOTIFY_ANSWER_BYTES: Final = 64 * KIB
"""What is read of its answer."""
NOTIFY_MEMORY_BYTES: Final = 384 * MIB
"""What that process may fill: a service that answers without end fills no more. Eight places at once need 130 MiB."""
