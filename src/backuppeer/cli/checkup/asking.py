"""Everything that takes time, asked at once: servers from here, the rest of the running agent. Nothing hangs.

Knows: threads, deadlines, which answer becomes which finding. Must not know: the terminal. Each question has a thread
of its own and puts findings into one queue; what gives no answer in time is said so, and its thread is left behind.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.cli.checkup import far, itself
from backuppeer.cli.checkup.findings import Finding, State, broken_by
from backuppeer.cli.checkup.here import examine_disks
from backuppeer.cli.installed import Keeper, keeper_of
from backuppeer.cli.probing import probe_all
from backuppeer.cli.work import read_rows
from backuppeer.control.api import Nothing, SnapshotRow, SnapshotsRequest, StatusResult
from backuppeer.control.client import Client
from backuppeer.control.doctor import NetworkCheck, PeerCheck
from backuppeer.control.events import EventName
from backuppeer.control.sessions import SessionRow
from backuppeer.errors import BackupPeerError, ExitCode, UserError
from backuppeer.limits import DOCTOR_GRACE_S, DOCTOR_S

if TYPE_CHECKING:
    from backuppeer.signaling.probe import Probe

Answer = Finding | float
"""A finding, or by how many seconds another clock is ahead of ours."""
Tell = Callable[[Answer], None]
Question = Callable[[Tell], None]
_ALARM: Final = "ALARM: "


class Questions:
    """Questions under way. Add them all, then read the answers as they come."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[tuple[str, Answer | None]] = queue.SimpleQueue()
        self._open: dict[str, int] = {}

    def ask(self, link: str, question: Question) -> None:
        """Put a question; what our own errors say of it becomes a finding of `link`."""
        self._open[link] = self._open.get(link, 0) + 1
        threading.Thread(target=self._run, args=(link, question), daemon=True, name=f"doctor-{link}").start()

    @property
    def waiting(self) -> list[str]:
        """The links that have not told all yet."""
        return [link for link, count in self._open.items() if count]

    def answers(self, within_s: float = DOCTOR_S + DOCTOR_GRACE_S) -> Iterator[Answer]:
        """Yield answers as they come; after `within_s` what is missing is said to be so."""
        end_s = time.monotonic() + within_s
        while self.waiting:
            try:
                link, answer = self._answers.get(timeout=max(0.0, end_s - time.monotonic()))
            except queue.Empty:
                break
            if answer is None:
                self._open[link] -= 1
            else:
                yield answer
        for link in self.waiting:
            text = f"no answer within {within_s:.0f} s"
            fix = "look again; if it stays so: `backup-peer agent stop`, then `backup-peer agent start`"
            yield Finding(link=link, state=State.BROKEN, text=text, fix=fix, code=int(ExitCode.UNEXPECTED))

    def _run(self, link: str, question: Question) -> None:
        def tell(answer: Answer | None) -> None:
            self._answers.put((link, answer))

        is_whole = False
        try:
            question(tell)
            is_whole = True
        except BackupPeerError as exc:
            tell(broken_by(link, exc))
            is_whole = True
        finally:
            if not is_whole:  # never "all is well" for a look that broke off
                text = "this look broke off: a fault of this program"
                tell(Finding(link=link, state=State.BROKEN, text=text, code=int(ExitCode.UNEXPECTED)))
            tell(None)


def ask_servers(urls: Sequence[str], proxy: str | None) -> Question:
    """Return the question to signaling servers."""

    def question(tell: Tell) -> None:
        def heard(probe: "Probe") -> None:
            tell(far.judge_probe(probe))
            if probe.skew_s is not None:
                tell(probe.skew_s)

        probe_all(urls, proxy, on_probe=heard, within_s=DOCTOR_S)

    return question


def ask_status(client: Client, home: Home) -> Question:
    """Return the question how the agent is: its alarms, and the disk where the packs of others lie."""

    def question(tell: Tell) -> None:
        status = client.call("status", Nothing(), StatusResult)
        for note in status.notes:
            if note.startswith(_ALARM):
                text, fix = note.removeprefix(_ALARM), "`backup-peer status` has all; `status --seen` once it was read"
                code = int(ExitCode.INTEGRITY)
                tell(Finding(link="alarms", state=State.BROKEN, text=text, fix=fix, code=code))
        store = status.hosting.store
        if status.hosting.store_state not in {"", "none", "ready"}:
            fix = "is its disk plugged in and mounted? `backup-peer host --move-store DIR` names another place"
            text = f"the store {store}: {status.hosting.store_state}"
            code = int(ExitCode.REFUSED)
            tell(Finding(link="disk", name="store", state=State.BROKEN, text=text, fix=fix, code=code))
        elif store:
            for found in examine_disks(home, Path(store)):
                if found.name == "store":
                    tell(found)

    return question


def ask_peers(client: Client) -> Question:
    """Return the question to all peers, which the agent puts to them side by side."""

    def question(tell: Tell) -> None:
        count = 0
        for event in client.work("doctor/peers", Nothing()):
            if event.event == EventName.ROWS:
                for row in read_rows(event, PeerCheck):
                    count += 1
                    tell(far.judge_peer(row))
                    if row.skew_s is not None:
                        tell(row.skew_s)
            elif event.event == EventName.DONE and (left := int(event.data.get("left_out", 0))):
                tell(Finding(link="peer", state=State.UNSEEN, text=f"{left} more were not asked"))
        if not count:
            fix = "`backup-peer browse` finds a host, `backup-peer host --storage 50GB` is one"
            tell(Finding(link="peer", state=State.NONE, text="nothing is agreed with anybody yet", fix=fix))

    return question


def ask_network(client: Client, servers: Sequence[str]) -> Question:
    """Return the question what lies before this machine."""

    def question(tell: Tell) -> None:
        tell(far.judge_network(client.call("doctor/network", Nothing(servers=list(servers)), NetworkCheck)))

    return question


def ask_backups(client: Client, home: Home) -> Question:
    """Return the question how old the newest snapshots are, and at how many hosts."""

    def question(tell: Tell) -> None:
        rows = client.call("snapshots", SnapshotsRequest(), list[SnapshotRow])
        status = client.call("status", Nothing(), StatusResult)
        try:
            sets = read_config(home).sets
        except BackupPeerError:
            sets = {}  # said already, by the settings
        hosts, now_s = status.storing.hosts, time.time()
        scheduled = [] if status.read_only else status.scheduled
        judged = (
            far.judge_read(rows, hosts=hosts, now_s=now_s)
            if status.read_only
            else far.judge_backups(rows, sets, hosts=hosts, now_s=now_s)
        )
        overdue = [] if status.read_only else status.overdue
        for found in (*judged, *itself.judge_overdue(overdue), *itself.judge_schedules(scheduled)):
            tell(found)
        if (keeper := _find_keeper(home)) is not None:
            is_needed = bool(scheduled or status.hosting.offering or status.hosting.agreements)
            is_installed = keeper.file.exists()
            tell(
                itself.judge_service(
                    is_installed=is_installed, is_running=is_installed and keeper.is_running(), is_needed=is_needed
                )
            )

    return question


def _find_keeper(home: Home) -> Keeper | None:
    try:
        return keeper_of(home)
    except UserError:
        return None  # this system has nothing that could keep an agent running


def list_sessions(client: Client) -> list[SessionRow]:
    """Return the open sessions, for a report."""
    return client.call("sessions", Nothing(), list[SessionRow], timeout_s=DOCTOR_S)
