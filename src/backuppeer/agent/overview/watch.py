"""All that stands against this home now, of both its sides; and the teller that tells of it.

Knows: which part to ask for which trouble. Must not know: what a trouble looks like in a message.
"""

import asyncio
import socket

from backuppeer.agent.agent import Agent
from backuppeer.agent.notifications.message import Message
from backuppeer.agent.notifications.teller import Teller
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.overview import hosted, owned
from backuppeer.agent.overview.overdue import list_overdue
from backuppeer.agent.overview.report import build_report
from backuppeer.agent.overview.wording import write_letter
from backuppeer.agent.owner.set_hosts import read_sets


def list_troubles(agent: Agent) -> list[Trouble]:
    """Return what stands now; reads disks, so in a thread.

    Raises:
        BackupPeerError: the state or the index can't be read.

    """
    parts, owner, host = agent.parts, agent.owner, agent.host
    state, vault = parts.state, owner.vault
    return [
        *owned.find_overdue(list_overdue(parts.home, state, vault)),
        *owned.find_failing(owner.timekeeper.describe()),
        *owned.find_doubts(state),
        *owned.find_liars(owner.auditor.records(), state),
        *owned.find_successors(vault, state, parts.sessions.all()),
        *owned.find_lacking(vault, state, read_sets(parts.home)),
        *owned.find_endings(state, parts.clock.now_ms()),
        *hosted.find_deletions(host.sweeping, state),
        *hosted.find_waived(host.waiving.waived),
        *hosted.find_losses(host.scrubbing, state),
        *hosted.find_disk(host.premises),
    ]


def make_teller(agent: Agent) -> Teller:
    """Return what tells a person of the trouble of this home, as the settings say."""
    parts = agent.parts

    async def find() -> list[Trouble]:
        return await asyncio.to_thread(list_troubles, agent)

    async def report() -> Message:
        return write_letter(await asyncio.to_thread(build_report, agent, await find()))

    return Teller(parts.home, parts.state, parts.clock, machine=socket.gethostname(), find=find, report=report)
