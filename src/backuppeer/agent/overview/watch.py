"""All that stands against this home now, of both its sides; and the teller that tells of it.

Knows: which part to ask for which trouble. Must not know: what a trouble looks like in a message.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from backuppeer.agent.agent import Agent
from backuppeer.agent.notifications.message import Message
from backuppeer.agent.notifications.teller import Teller
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.overview import hosted, owned
from backuppeer.agent.overview.overdue import list_overdue
from backuppeer.agent.overview.report import build_report
from backuppeer.agent.overview.wording import write_letter
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.errors import BackupPeerError

_log = structlog.get_logger()
_UNREADABLE: Final = Trouble(
    key="unreadable",
    text="a part of what this home keeps can't be read, so not all trouble is seen",
    fix="`backup-peer doctor` says what",
)


def list_troubles(agent: Agent) -> list[Trouble]:
    """Return what stands now; reads disks, so in a thread."""
    parts, owner, host = agent.parts, agent.owner, agent.host
    state, vault = parts.state, owner.vault
    return gather(
        lambda: owned.find_overdue(list_overdue(parts.home, state, vault)),
        lambda: owned.find_failing(owner.timekeeper.describe()),
        lambda: owned.find_doubts(state),
        lambda: owned.find_liars(owner.auditor.records(), state),
        lambda: owned.find_successors(vault, state, parts.sessions.all()),
        lambda: owned.find_lacking(vault, state, read_sets(parts.home)),
        lambda: owned.find_endings(state, parts.clock.now_ms()),
        lambda: owned.find_away(state, {session.peer for session in parts.sessions.all()}, parts.clock.now_ms()),
        lambda: owned.find_home_disk(parts.home),
        lambda: hosted.find_deletions(host.sweeping, state),
        lambda: hosted.find_waived(host.waiving.waived),
        lambda: hosted.find_losses(host.scrubbing, state),
        lambda: hosted.find_disk(host.premises),
    )


def gather(*finders: Callable[[], Iterable[Trouble]]) -> list[Trouble]:
    """Return what all of them find; one that can't look is a trouble itself, and keeps nothing of the others back."""
    found = list[Trouble]()
    for find in finders:
        try:
            found += find()
        except BackupPeerError as exc:
            _log.warning("can't look for trouble", reason=exc.message)
            found.append(_UNREADABLE)
        except Exception:  # noqa: BLE001 - a fault in one look must not make all others silent (ADR 89)
            _log.exception("can't look for trouble")
            found.append(_UNREADABLE)
    return found


def make_teller(agent: Agent) -> Teller:
    """Return what tells a person of the trouble of this home, as the settings say."""
    parts = agent.parts

    async def find() -> list[Trouble]:
        return await asyncio.to_thread(list_troubles, agent)

    async def report() -> Message:
        return write_letter(await asyncio.to_thread(build_report, agent, await find()))

    return Teller(parts.home, parts.state, parts.clock, machine=socket.gethostname(), find=find, report=report)
