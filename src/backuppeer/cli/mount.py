"""`mount`: snapshots as folders, read-only, until it is unmounted or Ctrl-C."""

import contextlib
import queue
import shlex
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, escape_name, format_count
from backuppeer.cli.screen import GREEN
from backuppeer.cli.selection import Hosts, OfPath, OfSet, Tags, write_path
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, read_event
from backuppeer.control.api import SnapshotRow, SnapshotsRequest
from backuppeer.control.events import ErrorFile, Event, EventName, State
from backuppeer.control.mounting import MountEndRequest, MountOpened, MountRequest, MountResult
from backuppeer.errors import BackupPeerError, InterruptedByUserError, LocalError
from backuppeer.limits import MOUNT_END_S, MOUNT_TOLD

if TYPE_CHECKING:
    from types import ModuleType

    from backuppeer.cli.mounted.kernel import Kernel
    from backuppeer.cli.mounted.layout import Shelf

_HELP: Final = (
    "Show snapshots as read-only folders at DIR, an empty one. DIR/snapshots has one for each, named by its time, and "
    "`latest`; DIR/ids, DIR/hosts, DIR/sets and DIR/tags hold links to them. What is read is fetched from the hosts. "
    "Ctrl-C ends it, or `umount DIR`. Needs libfuse and the Python package mfusepy."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="mount", help=_HELP)(mount)


def mount(  # noqa: PLR0913 - typer: an option each
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="DIR", help="An empty folder.")],
    *,
    snapshot: Annotated[
        list[str] | None, typer.Option(metavar="SNAPSHOT", help="Only this: id, prefix or `latest`; may be repeated.")
    ] = None,
    tag: Tags = None,
    host: Hosts = None,
    of_set: OfSet = "",
    path: OfPath = "",
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users of this machine in, as owners and modes allow.")
    ] = False,
) -> int:
    """Mount, and stay until it is over."""
    # All of it loaded only here: libfuse, and what only a mount needs.
    from backuppeer.cli.mounted.kernel import load_library  # noqa: PLC0415
    from backuppeer.cli.mounted.place import check_place, check_system  # noqa: PLC0415

    context = context_of(ctx)
    place = check_place(target)
    check_system()
    library = load_library()
    request = MountRequest(
        servers=context.servers(),
        snapshots=snapshot or [],
        hosts=host or [],
        tags=tag or [],
        path=write_path(path),
        set=of_set,
    )
    with _ending_by_signals():
        result = _Mount(context, library, place, allow_other=allow_other).run(request)
    context.screen.line(
        f"unmounted {escape_name(place)}; {format_size(result.read_bytes)} read in {format_duration(result.seconds)}"
    )
    context.screen.done(result)
    return 0


@dataclass(frozen=True, slots=True)
class _Ready:
    """The kernel shows it."""


@dataclass(frozen=True, slots=True)
class _Unmounted:
    """The kernel shows it no more, or never did."""

    error: BackupPeerError | None


@dataclass(frozen=True, slots=True)
class _AgentGone:
    """The agent's side is over."""

    error: BackupPeerError | None


_News = Event | _Ready | _Unmounted | _AgentGone


class _Mount:
    """One mount: threads send news, the main one acts and speaks."""

    def __init__(self, context: Context, library: "ModuleType", place: str, *, allow_other: bool) -> None:
        self._context, self._library, self._place, self._allow_other = context, library, place, allow_other
        self._client = context.client()
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._told: set[tuple[str, str]] = set()
        self._kernel: Kernel | None = None
        self._opened: MountOpened | None = None
        self._is_named = self._has_given_up = False

    def run(self, request: MountRequest) -> MountResult:
        """Mount and wait.

        Raises:
            BackupPeerError: it could not be mounted, or the agent ended.

        """
        self._is_named, self._request = bool(request.snapshots), request
        threading.Thread(target=self._follow, args=(request,), daemon=True, name="events").start()
        with Spinner(self._context.screen) as spinner:
            view = View(self._context.screen, spinner=spinner)
            try:
                return self._wait(view, spinner)
            except KeyboardInterrupt:
                if self._opened is None:
                    raise InterruptedByUserError("stopped; nothing was mounted") from None
                spinner.rest()
                return self._end()
            finally:
                self._take_away()

    def _wait(self, view: View, spinner: Spinner) -> MountResult:
        while True:
            news = self._news.get()
            match news:
                case _AgentGone(error):
                    raise self._explain(error or LocalError("the agent ended the mount"))
                case _Unmounted(error):
                    if error is not None:
                        raise error
                    return self._end()
                case _Ready():
                    spinner.rest()
                    self._say_mounted()
                case Event(event=EventName.OPENED):
                    self._show(read_event(news, MountOpened))
                case Event():
                    view.show(news)
                    self._follow_state(news)

    def _explain(self, error: BackupPeerError) -> BackupPeerError:
        """Return why a mount is over that stood: what the agent says of other work does not hold for it."""
        if self._opened is None:
            return error
        again = f"mount again: `backup-peer mount {shlex.quote(self._place)}`"
        return type(error)(f"{error.message}; {self._place} is unmounted", hint=again)

    def _show(self, opened: MountOpened) -> None:
        from backuppeer.cli.mounted.door import Door  # noqa: PLC0415
        from backuppeer.cli.mounted.kernel import Kernel  # noqa: PLC0415
        from backuppeer.cli.mounted.view import View as Shown  # noqa: PLC0415

        self._opened = opened
        self._door = Door(self._client, opened.mount)
        shown = Shown(self._door, self._list_snapshots, self._tell_failure, strict=self._allow_other)
        self._kernel = Kernel(
            self._library,
            shown,
            self._place,
            allow_other=self._allow_other,
            on_ready=lambda: self._news.put(_Ready()),
            on_end=lambda error: self._news.put(_Unmounted(error)),
        )
        self._kernel.start()

    def _say_mounted(self) -> None:
        from backuppeer.cli.mounted.place import name_unmount  # noqa: PLC0415

        screen, count = self._context.screen, len(self._opened.snapshots) if self._opened else 0
        name = escape_name(self._place)
        screen.line(f"{screen.paint('✓', GREEN)} {format_count(count, 'snapshot')} mounted at {name}", hang=2)
        ending = f"{name_unmount()} {escape_name(shlex.quote(self._place))}"
        screen.line(f"  look into {name}/snapshots; Ctrl-C ends it, or `{ending}`", hang=2)
        screen.event("mounted", {"target": self._place, "snapshots": count})

    def _list_snapshots(self) -> "Shelf":
        from backuppeer.cli.mounted.layout import build_layout  # noqa: PLC0415

        asked = self._request
        request = SnapshotsRequest(hosts=asked.hosts, tags=asked.tags, path=asked.path, set=asked.set)
        if self._is_named:
            request = SnapshotsRequest()
        rows = self._client.call("snapshots", request, list[SnapshotRow])
        named = set(self._opened.snapshots) if self._opened else set()
        return build_layout(row for row in rows if not self._is_named or row.snapshot in named)

    def _tell_failure(self, path: str, error: BackupPeerError) -> None:
        """Name a file that could not be read, once for each reason; from threads of the kernel's questions."""
        key = (path, error.message)
        if key not in self._told and len(self._told) < MOUNT_TOLD:
            self._told.add(key)
            data = ErrorFile(path=self._place + path, message=error.message)
            self._news.put(Event(event=EventName.ERROR_FILE, data=_as_dict(data)))

    def _follow_state(self, event: Event) -> None:
        """Say that a host is back that had been given up, and take what fails from then on for news again."""
        if event.event != EventName.STATE:
            return
        said = read_event(event, State)
        if said.state == "connected":
            self._told.clear()
            if self._has_given_up and not self._context.screen.json:
                self._context.screen.aside(escape_line(said.text))
        self._has_given_up = said.state == "working"

    def _follow(self, request: MountRequest) -> None:
        try:
            with contextlib.closing(self._client.work("mount", request)) as told:
                for event in told:
                    if event.event != EventName.DONE:
                        self._news.put(event)
        except BackupPeerError as exc:
            self._news.put(_AgentGone(exc))
        else:
            self._news.put(_AgentGone(None))

    def _end(self) -> MountResult:
        """End both sides: first the agent's, so that reads which wait for hosts fail and can be waited for."""
        if self._opened is None:
            raise LocalError("the mount ended before it began")
        request = MountEndRequest(mount=self._opened.mount)
        result = self._client.call("mount/end", request, MountResult, timeout_s=MOUNT_END_S)
        self._take_away()
        return result

    def _take_away(self) -> None:
        from backuppeer.cli.mounted.place import detach  # noqa: PLC0415

        if self._kernel is not None and not self._kernel.end(MOUNT_END_S):
            detach(self._place)
        if self._opened is not None:
            self._door.close()
        self._kernel = None


def _as_dict(data: ErrorFile) -> dict[str, Any]:
    return {"path": data.path, "message": data.message}


@contextlib.contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Let the signals that end other programs end a mount as Ctrl-C does: killed, it would leave a dead folder."""
    usual = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in usual:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)
