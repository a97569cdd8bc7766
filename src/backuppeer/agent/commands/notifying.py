"""What a person is told without asking: notify/test, report (control.api routes).

Knows: the settings, who sends, who makes a report. Must not know: HTTP, terminals.
"""

import asyncio
import socket
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.notify import name_service
from backuppeer.agent.notifications.courier import MISSING, deliver, is_available
from backuppeer.agent.notifications.message import Message, clean_line
from backuppeer.agent.notifications.teller import read_settings
from backuppeer.agent.overview.report import build_report
from backuppeer.agent.overview.watch import list_troubles
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import Nothing
from backuppeer.control.reporting import NotifiedPlace, Report
from backuppeer.errors import NotFoundError

_BODY: Final = (
    "This is a trial: `backup-peer notify test` was typed on that machine. Trouble with its backups will be told here."
)


class NotifyCommands:
    """notify/test, report."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def test(self, _: Nothing, __: Emit) -> list[NotifiedPlace]:
        """Send a trial notification to each address, and say what came of it.

        Raises:
            NotFoundError: no address is set, or apprise is not installed.
                UserError: the settings can't be read.

        """
        urls = read_settings(self._agent.parts.home).urls or []
        if not urls:
            raise NotFoundError(
                "nobody is told of trouble: notify.urls is not set",
                hint="`backup-peer config set notify.urls -` asks for addresses such as ntfy://ntfy.sh/TOPIC",
            )
        if not is_available():
            raise NotFoundError(MISSING[0], hint=MISSING[1])
        title = f"Backup Peer on {clean_line(socket.gethostname())}: trial"
        answers = await deliver(urls, Message(title=title, body=_BODY), is_trouble=False)
        return [
            NotifiedPlace(service=name_service(url), sent=answer.is_sent, reason=answer.reason)
            for url, answer in zip(urls, answers, strict=True)
        ]

    async def report(self, _: Nothing, __: Emit) -> Report:
        """Return the report of the last seven days."""
        troubles = await list_troubles(self._agent)
        return await asyncio.to_thread(build_report, self._agent, troubles)
