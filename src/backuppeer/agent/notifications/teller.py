"""Trouble told as it comes: what is found is planned, written, sent, and tried again (ADR 89).

Knows: the settings, the book, the outbox, that there are troubles. Must not know: what they are about. Nothing here
holds up any work: it has a task of its own, and each sending a process of its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.notify import NotifySettings, name_service
from backuppeer.agent.home.state import State
from backuppeer.agent.notifications import courier
from backuppeer.agent.notifications.book import keep_book, plan_telling, read_book
from backuppeer.agent.notifications.message import Message, write_message
from backuppeer.agent.notifications.outbox import (
    Round,
    Waiting,
    address,
    describe_outbox,
    keep_outbox,
    plan_round,
    put_off,
    read_outbox,
    settle,
)
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.clock import Clock
from backuppeer.control.server import outcome_of
from backuppeer.errors import BackupPeerError
from backuppeer.limits import NOTIFY_LOOK_S

_log = structlog.get_logger()
_REPORTED = "notify.reported"
_WEEK_MS = 7 * 86_400_000
_TIME_BYTES = 8
_MOST_FAILURES = 2
Find = Callable[[], Awaitable[list[Trouble]]]
Report = Callable[[], Awaitable[Message]]


class Teller:
    """Tells a person of the trouble of one home, from the start of the agent to its end.

    machine: what the home is called in a title. find: what troubles stand now. report: the report of a week.
    """

    def __init__(self, home: Home, state: State, clock: Clock, *, machine: str, find: Find, report: Report) -> None:
        self._home, self._state, self._clock = home, state, clock
        self._machine, self._find, self._report = machine, find, report

    async def run(self) -> None:
        """Look for trouble, and send what waits, until cancelled."""
        while True:
            await asyncio.sleep(NOTIFY_LOOK_S)
            # As a job: whatever happens in one look, the next one comes (ADR 12, 89).
            outcome = await outcome_of("notify/look", self.look())
            if isinstance(outcome, BackupPeerError):
                _log.warning("no look for trouble", reason=outcome.message)

    async def look(self) -> int:
        """Find what is to be told and send what is due; return how many messages were sent.

        Raises:
            BackupPeerError: the settings or the state can't be read.
            OSError: no process can be started.

        """
        settings = read_settings(self._home)
        if not settings.urls:
            return 0
        await self._write_down(settings.urls)
        if settings.report == "weekly":
            await self._try_report(settings.urls)
        return await self._send(settings.urls)

    async def _write_down(self, urls: Sequence[str]) -> None:
        now_ms = self._clock.now_ms()
        plan = plan_telling(await self._find(), read_book(self._state), now_ms)
        if plan.new or plan.solved:
            message = write_message(self._machine, plan.new, plan.solved)
            # Before the book: what is told twice after a power cut is better than what nobody hears.
            self._post(address(message, urls, now_ms, is_trouble=bool(plan.new)))
        keep_book(self._state, plan.book)

    async def _try_report(self, urls: Sequence[str]) -> None:
        """Post the report if it is due; one that can't be made is tried at the next look, and keeps nothing back."""
        try:
            await self._report_when_due(urls)
        except (BackupPeerError, OSError) as exc:
            _log.warning("no report", reason=str(exc))

    async def _report_when_due(self, urls: Sequence[str]) -> None:
        now_ms, kept = self._clock.now_ms(), self._state.setting(_REPORTED)
        before_ms = int.from_bytes(kept, "big") if kept else 0
        if before_ms and before_ms <= now_ms < before_ms + _WEEK_MS:
            return
        if 0 < before_ms <= now_ms:
            self._post(address(await self._report(), urls, now_ms, is_trouble=False))
        # The first one tells of a whole week, as all others do.
        self._state.put_setting(_REPORTED, now_ms.to_bytes(_TIME_BYTES, "big"))

    def _post(self, waiting: Sequence[Waiting]) -> None:
        keep_outbox(self._state, [*read_outbox(self._state), *waiting])

    async def _send(self, urls: Sequence[str]) -> int:
        kept, rounds = plan_round(read_outbox(self._state), urls, self._clock.now_ms())
        sent = 0
        for each in rounds:
            left = await self._go_round(each)
            sent += len(each.waiting) - len(left)
            kept = [one for one in kept if one not in each.waiting] + left
        keep_outbox(self._state, sorted(kept, key=lambda one: one.since_ms))
        return sent

    async def _go_round(self, each: Round) -> list[Waiting]:
        """Send what waits for one place; return what is left to send.

        One that it takes never keeps the others back; a place that takes two of them not is away.
        """
        left = list[Waiting]()
        for number, one in enumerate(each.waiting):
            (answer,) = await courier.deliver([each.url], one.message, is_trouble=one.is_trouble)
            if failed := settle(one, answer, self._clock.now_ms()):
                _log.warning("notification not sent", service=name_service(each.url), reason=answer.reason)
                left.append(failed)
            if len(left) == _MOST_FAILURES:
                return [*left, *put_off(each.waiting[number + 1 :], left[0].next_ms)]
        return left


def read_settings(home: Home) -> NotifySettings:
    """Return the settings of `[notify]`.

    Raises:
        BackupPeerError: the settings can't be read.

    """
    return read_config(home).notify or NotifySettings()


def describe_unsent(home: Home, state: State) -> list[str]:
    """Return what a person should know of notifications that don't come, for `status`."""
    with contextlib.suppress(BackupPeerError):  # the settings that can't be read are told by themselves
        urls = read_settings(home).urls or []
        if urls and not courier.is_available():
            return [f"{courier.MISSING[0]}: nothing is told. {courier.MISSING[1]}"]
        return describe_outbox(read_outbox(state), urls)
    return []
