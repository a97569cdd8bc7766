"""`demo`: the main job on this machine, by the real program in separate processes, with the disaster included.

A signaling server, a host and an owner each run in a temporary home, on loopback only. DIR is only read. The owner's
whole home is deleted between backup and recovery, and every restored byte is compared with DIR.

Knows: the story, told as a user would type it. Must not know: how the rooms do it; it sees what a script would see.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from backuppeer.cli.compare import Comparison, compare_trees, measure_tree
from backuppeer.cli.context import context_of
from backuppeer.cli.progress import Pace, describe_progress
from backuppeer.cli.render import Column, escape_line, escape_name, format_count, format_until, shorten_id
from backuppeer.cli.screen import Screen
from backuppeer.cli.stage import Json, Party, Stage, end_signals_raised
from backuppeer.cli.units import format_size
from backuppeer.cli.work import PLAIN_LINE_S, REDRAW_S
from backuppeer.control.codec import convert_json
from backuppeer.control.events import EventName, Progress
from backuppeer.errors import IncompleteError, IntegrityFault, LocalError, UserError

_OFFER_S: Final = 60.0
_ROOM_FACTOR: Final = 2.2
"""Free disk wanted, times the size of DIR: the host's packs, the restored copy, and something over."""
_ROOM_BYTES: Final = 2 * 10**9
"""And this much beside it: hosts keep a floor of free disk."""
_SHOWN: Final = 10
_PLAIN_COLUMNS: Final = 100


def demo(
    ctx: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder to back up, only read; default: Python's own library."),
    ] = None,
) -> None:
    """Show the main job on this machine, from host to recovery."""
    run_demo(directory or Path(sysconfig.get_path("stdlib")), context_of(ctx).screen)


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("demo")(demo)


def run_demo(directory: Path, screen: Screen) -> None:
    """Play the whole story with `directory`; processes and folders are gone afterwards, whatever happens.

    Raises:
        UserError: `directory` can't be used.
        IncompleteError: all is the same but for files that the backup named as unreadable.
        IntegrityFault: something came back different.
        VerbFailed: a verb failed; its own message, hint and exit code.

    """
    sys.dont_write_bytecode = True  # the default DIR is where this interpreter would write it
    source, teller = check_source(directory), Teller(screen)
    with end_signals_raised(), Stage(teller.show) as stage:
        _play(stage, teller, source)


def _play(stage: Stage, teller: "Teller", source: Path) -> None:
    started = time.monotonic()
    files, size_bytes = measure_tree(source)
    _check_room(stage.path, size_bytes)
    teller.say(f"{escape_name(str(source))}: {format_count(files, 'file')}, {format_size(size_bytes)}; only read")
    host, owner, words = _introduce(stage, teller)
    _agree(teller, host, owner, size_bytes=size_bytes)
    backup, named = _back_up(teller, owner, source)
    stored = measure_tree(host.home / "store")[1]
    _destroy(teller, owner)
    heir = _recover(stage, teller, words)
    target = stage.path / "restored"
    teller.step("Restore into a new folder")
    restore = heir.run("restore", "latest", "--target", os.fspath(target))
    teller.step("Compare every byte, mode, time and link with the original")
    copy = target / source.relative_to("/")
    compared = compare_trees(source, copy, on_entry=teller.follow("comparing", size_bytes))
    _judge(teller, compared, named)
    _sum_up(teller, backup, restore, compared, stored_bytes=stored, seconds=time.monotonic() - started)


# --- the story
def _introduce(stage: Stage, teller: "Teller") -> tuple[Party, Party, str]:
    teller.step("A signaling server, and two people who do not know each other yet")
    teller.say(f"signaling server  {stage.start_server()}")
    host, owner = stage.party("host"), stage.party("owner")
    teller.say(f"host   {host.run('init', '--yes')['peer_id']}")
    made = owner.run("init", "--yes")
    teller.say(f"owner  {made['peer_id']}")
    teller.say(f"owner's 24 words, on paper only: {made['words']}")
    return host, owner, str(made["words"])


def _agree(teller: "Teller", host: Party, owner: Party, *, size_bytes: int) -> None:
    storage = f"{size_bytes * 2 // 10**9 + 1}GB"
    teller.step(f"The host offers {storage} and wants to be asked")
    offering = host.start("host", "--storage", storage, "--accept", "ask", "--yes")
    offering.wait_event("offered")
    teller.step("The owner browses and chooses")
    offer = _find_offer(owner, host)
    teller.show_offers([offer])
    teller.step("Both sides see the same safety words, to compare by telephone; then the host accepts")
    connecting = owner.start(
        "connect", offer["peer_id"], "--storage", storage, "--name", "alice", "--yes", "--wait", "60s"
    )
    asked = offering.wait_event("request")
    teller.say(f"host sees   {asked['safety_words']}")
    host.ask("requests", "accept", asked["request_id"])
    agreed = connecting.wait_done()
    teller.say(f"owner sees  {agreed['safety_words']}")
    if agreed["safety_words"] != asked["safety_words"]:
        raise IntegrityFault("the two saw different safety words: somebody stands between them")
    # Compared, and recorded: a friend, whose copy counts, and who may have more than a stranger at once.
    owner.ask("peers", "set", "alice", "--verified")
    teller.say(f"agreed: {format_size(agreed['quota_bytes'])} of the host's disk for the owner")


def _find_offer(owner: Party, host: Party) -> Json:
    """Return the host's row of `browse`, asked again until the listing has spread."""
    name, limit = host.ask("id")["peer_id"], time.monotonic() + _OFFER_S
    while time.monotonic() < limit:
        for row in owner.ask("browse"):
            if row["peer_id"] == name:
                return dict(row)
    raise LocalError(
        f"the host's offer did not appear in browse within {_OFFER_S:.0f} s", hint="is this machine busy? run it again"
    )


def _back_up(teller: "Teller", owner: Party, source: Path) -> tuple[Json, set[bytes]]:
    """Back up; return the figures and the paths that could not be read, relative to `source`."""
    teller.step("The owner backs up")
    running = owner.start("backup", os.fspath(source))
    done = running.wait_done(may_be_incomplete=True)
    paths = [str(event["path"]) for event in running.seen if event["event"] == EventName.ERROR_FILE]
    for path in paths[:_SHOWN]:
        teller.say(f"can't be read: {escape_name(path)}")
    return done, {os.fsencode(os.path.relpath(path, source)) for path in paths}


def _destroy(teller: "Teller", owner: Party) -> None:
    teller.step("Disaster: the owner's whole home is deleted, keys, index and cache")
    owner.stop_agent()
    shutil.rmtree(owner.home)
    teller.say(f"{owner.home} is gone; left are the 24 words, and ciphertext on the host's disk")


def _recover(stage: Stage, teller: "Teller", words: str) -> Party:
    teller.step("A new home, and the 24 words")
    heir = stage.party("heir")
    found = heir.run("recover", "--server", stage.server, "--yes", stdin=words + "\n")
    hosts = format_count(len(found["peers"]), "host")
    teller.say(f"{shorten_id(found['peer_id'])}… is back: {format_count(found['snapshots'], 'snapshot')} from {hosts}")
    return heir


def _judge(teller: "Teller", compared: Comparison, named: set[bytes]) -> None:
    for path, what in list(compared.differences.items())[:_SHOWN]:
        teller.say(f"different: {escape_name(os.fsdecode(path))}: {what}")
    others = compared.differences.keys() - named
    if others:
        raise IntegrityFault(
            f"{format_count(len(others), 'path')} came back different from the original",
            hint="if something writes to that folder, run the demo on a quiet one",
        )
    if named:
        raise IncompleteError(
            f"the same, but without {format_count(len(named), 'file')} that can't be read",
            hint="they are named above: what you may not read is in no backup of yours",
        )


def _sum_up(
    teller: "Teller", backup: Json, restore: Json, compared: Comparison, *, stored_bytes: int, seconds: float
) -> None:
    for verb, done in (("backup", backup), ("restore", restore)):
        rate = format_size(int(done["bytes"] / max(done["seconds"], 0.001)))
        teller.say(f"{verb:<8}{format_size(done['bytes']):>9} in {done['seconds']:.1f} s, {rate}/s")
    teller.say(f"on the host's disk {format_size(stored_bytes)}, all of it ciphertext")
    counts = ", ".join(
        format_count(count, noun)
        for count, noun in ((compared.files, "file"), (compared.folders, "folder"), (compared.links, "link"))
    )
    teller.say(f"the same: {counts}, {format_size(compared.size_bytes)}; {seconds:.0f} s in all")
    teller.screen.done({"files": compared.files, "bytes": compared.size_bytes, "seconds": seconds, "errors": 0})


# --- what may be used
def check_source(directory: Path) -> Path:
    """Return the real path of the folder to back up.

    Raises:
        UserError: no folder, or the temporary folder lies in it, so that it would grow under the backup's eyes.

    """
    source = directory.resolve()
    if not source.is_dir():
        raise UserError(f"not a folder: {directory}", hint="name a folder, or leave it out")
    if Path(tempfile.gettempdir()).resolve().is_relative_to(source):
        raise UserError(f"{source} holds the temporary folder", hint="set TMPDIR to a folder outside of it")
    return source


def _check_room(folder: Path, size_bytes: int) -> None:
    free, wanted = shutil.disk_usage(folder).free, int(size_bytes * _ROOM_FACTOR) + _ROOM_BYTES
    if free < wanted:
        raise UserError(
            f"{folder.parent} has {format_size(free)} free, the demo needs {format_size(wanted)}",
            hint="set TMPDIR to a larger disk, or name a smaller folder",
        )


class Teller:
    """Tells the story on a screen: numbered steps, facts, and one live line of progress."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._step = 0
        self._pace = Pace()
        self._next_s = 0.0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self.screen.line(f"\n{self._step}. {title}", hang=3)

    def say(self, text: str) -> None:
        """Tell one fact; the caller has escaped what is foreign."""
        self.screen.line(f"   {text}", hang=6)

    def show(self, event: Json) -> None:
        """Show what a verb says while it works: progress as a live line, states and notes as facts."""
        kind = event.get("event")
        data = {key: value for key, value in event.items() if key != "event"}
        if kind == EventName.PROGRESS:
            self._show_progress(convert_json(data, Progress))
        elif kind in {EventName.STATE, EventName.NOTE}:
            self.say(f"· {escape_line(str(data.get('text') or data.get('state')))}")

    def follow(self, phase: str, size_bytes: int) -> Callable[[Comparison], None]:
        """Return what shows how far a comparison of `size_bytes` is."""
        started = time.monotonic()

        def on_entry(so_far: Comparison) -> None:
            seconds = time.monotonic() - started
            done = Progress(phase=phase, seconds=seconds, files=so_far.files, bytes=so_far.size_bytes)
            done.bytes_total = size_bytes
            self._show_progress(done)

        return on_entry

    def _show_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next_s:
            return
        # What a pipe passes on comes late, and would stand behind a live line.
        is_live = self.screen.is_live and self.screen.out_is_terminal
        self._next_s = now + (REDRAW_S if is_live else PLAIN_LINE_S)
        self._pace.add(progress)
        if is_live:
            self.screen.live(f"   {describe_progress(progress, self._pace, self.screen.columns - 4)}")
        else:
            self.say(describe_progress(progress, self._pace, _PLAIN_COLUMNS))

    def show_offers(self, rows: list[Json]) -> None:
        """Draw what `browse` found."""
        if self.screen.json:
            return
        columns = [Column("   peer"), Column("free", "right"), Column("region"), Column("trust"), Column("listed for")]
        self.screen.table(columns, [_describe_offer(row) for row in rows])


def _describe_offer(row: Json) -> list[str]:
    until = format_until(row["expires"], time.time()) if row["expires"] else "-"
    region, level = escape_line(row["region"] or "-"), escape_line(row["trust_level"])
    return [f"   {shorten_id(row['peer_id'])}", format_size(row["free_bytes"]), region, level, until]
