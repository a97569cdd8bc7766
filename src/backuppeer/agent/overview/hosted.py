"""Trouble of a host: what owners had deleted, its disk, what it lost.

Knows: what the host's parts tell. Must not know: whether and how it is told.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.scrubbing import Scrubbing
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.host.waived import Waived
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.clock import HOUR_S
from backuppeer.errors import BackupPeerError
from backuppeer.limits import ALARM_STEP_PERCENT, FREE_DISK_FLOOR_BYTES
from backuppeer.sizes import format_free

_DIGITS: Final = re.compile(r"\d+")
_LOW: Final = 2
"""Twice of what stays free in any case: then there is time to act before owners are refused."""


def find_deletions(sweeping: Sweeping, state: State) -> Iterator[Trouble]:
    """Yield mass deletions that nobody has seen here; one that grows is told anew."""
    for found in sweeping.alarms.list_new(state):
        yield Trouble(
            key=f"deletion:{found.agreement.hex()}",
            stage=str(found.percent // ALARM_STEP_PERCENT),
            text=sweeping.alarms.say(state, found),
            fix="`backup-peer status --seen` when you have taken note",
        )


def find_waived(waived: Waived) -> Iterator[Trouble]:
    """Yield locks that were lowered and data that was erased at once by an owner's 24 words."""
    for word in waived.list_words():
        yield Trouble(
            key=f"waived:{word.agreement.hex()}:{word.deed.value}",
            stage=f"{word.after_s}:{word.size_bytes.bit_length()}",
            text=waived.say(word),
            fix="`backup-peer status --seen` when you have taken note",
        )


def find_losses(scrubbing: Scrubbing, state: State) -> Iterator[Trouble]:
    """Yield what was lost on the own disk, of whomever; twice as much is told anew."""
    for count, text in scrubbing.list_losses(state):
        yield Trouble(key=f"own-loss:{count.agreement.hex()}", stage=str(count.packs.bit_length()), text=text)


def find_disk(premises: Premises) -> Iterator[Trouble]:
    """Yield whether the store is away, or its disk nearly full."""
    directory = premises.directory
    if directory is None:
        return
    try:
        premises.open()
        free = shutil.disk_usage(directory).free
    except (BackupPeerError, OSError):
        yield Trouble(
            key="store",
            text="the disk with what you keep for others is away or can't be used: their backups and restores wait",
            fix="plug it in and mount it, or see `backup-peer doctor`",
            grace_s=HOUR_S,
        )
        return
    if free <= _LOW * FREE_DISK_FLOOR_BYTES:
        is_full = free <= FREE_DISK_FLOOR_BYTES
        then = "no more is taken of anybody" if is_full else "soon no more can be taken"
        yield Trouble(
            key="store-disk",
            stage="full" if is_full else "low",
            text=f"the disk with what you keep for others has {format_free(free)} left: {then}",
            fix="free some space, or `backup-peer host --move-store DIR` to a larger disk",
        )


def digest_text(text: str) -> str:
    """Return what stands for a sentence whatever numbers are in it, so that one that counts on stays the same."""
    return hashlib.blake2b(_DIGITS.sub("#", text).encode(errors="replace"), digest_size=8).hexdigest()
