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
from backuppeer.control.server import outcome_of
from backuppeer.errors import BackupPeerError

_log = structlog.get_logger()
_UNREADABLE: Final = Trouble(
    key="unreadable",
    text="a part of what this home keeps can't be read, so not all trouble is seen",
    fix="`backup-peer doctor` says what",
)


async def list_troubles(agent: Agent) -> list[Trouble]:
    """Return what stands now."""
    parts, owner, host = agent.parts, agent.owner, agent.host
    state, vault = parts.state, owner.vault
    return await gather(
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


async def gather(*finders: Callable[[], Iterable[Trouble]]) -> list[Trouble]:
    """Return what all of them find; one that can't look is a trouble itself, and keeps nothing of the others back.

    finders: read disks, so each looks in a thread; as a job, whatever happens in it (ADR 12, 89).
    """
    found = list[Trouble]()
    for find in finders:

        def look(find: Callable[[], Iterable[Trouble]] = find) -> None:
            found.extend(find())

        outcome = await outcome_of("notify/look", asyncio.to_thread(look))
        if isinstance(outcome, BackupPeerError):
            _log.warning("can't look for trouble", reason=outcome.message)
            found.append(_UNREADABLE)
    return found


def make_teller(agent: Agent) -> Teller:
    """Return what tells a person of the trouble of this home, as the settings say."""
    parts = agent.parts

    async def find() -> list[Trouble]:
        return await list_troubles(agent)

    async def report() -> Message:
        return write_letter(await asyncio.to_thread(build_report, agent, await find()))

    return Teller(parts.home, parts.state, parts.clock, machine=socket.gethostname(), find=find, report=report)
