"""The near end of the chain: home, identity, permissions, settings, disks; all that can be looked at without an agent.

Knows: files of the home, their modes, free room. Must not know: the network, the agent. Reads, and changes nothing.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.cli import homes
from backuppeer.cli.checkup.findings import Finding, State, broken_by
from backuppeer.cli.render import escape_name, format_count, shorten_id
from backuppeer.cli.units import format_size
from backuppeer.errors import BackupPeerError, ExitCode, NewerFormatError
from backuppeer.limits import FREE_DISK_FLOOR_BYTES, HOME_FULL_BYTES, HOME_LOW_BYTES
from backuppeer.signaling.proxying import parse_proxy
from backuppeer.signaling.servers import check_servers

_OTHERS: Final = 0o077
_BEGIN: Final = "`backup-peer init` makes one, `backup-peer recover` brings one back from its words"
_SHOWN: Final = 3
"""Paths named in one finding."""


def examine_home(home: Home) -> Finding:
    """Say whether there is a home, and whether others on this machine may look into it."""
    try:
        homes.check_home(home)
        if not home.path.is_dir():
            return _broken("home", f"there is none at {_name(home.path)}", fix=_BEGIN, code=ExitCode.NOT_FOUND)
        files = [home.path, home.keys, *sorted(home.keys.iterdir())] if home.keys.is_dir() else [home.path]
        modes = {path: path.stat() for path in files}
    except BackupPeerError as exc:
        return broken_by("home", exc)
    except OSError as exc:
        text = f"{_name(Path(exc.filename or home.path))} can't be looked at: {exc.strerror}"
        return _broken("home", text, fix="make it readable for you alone")
    if foreign := [path for path, found in modes.items() if found.st_uid != os.geteuid()]:
        fix = f"`sudo chown -R {os.geteuid()} {shlex.quote(str(home.path))}`, or run this as who made it"
        return _broken("home", f"{_list(foreign)} belongs to another user", fix=fix)
    open_ones = [path for path, found in modes.items() if found.st_mode & _OTHERS]
    if home.path in open_ones:
        fix = f"`chmod go= {shlex.quote(str(home.path))}`"
        return _broken("home", f"others on this machine may look into {_name(home.path)}", fix=fix)
    if open_ones:  # nobody gets there now, but wherever it is copied to
        fix, text = f"`chmod -R go= {shlex.quote(str(home.keys))}`", f"a copy of {_list(open_ones)} is for all to read"
        return Finding(link="home", state=State.WARNING, text=text, fix=fix)
    return Finding(link="home", state=State.OK, text=f"{_name(home.path)}, for you alone")


def examine_identity(home: Home) -> Finding:
    """Say whether the keys can be read, and what opens them."""
    from backuppeer.agent.home.keyfile import Custody, read_key_file  # noqa: PLC0415 - crypto libraries

    if not home.exists_identity:
        return _broken("identity", "there is none in this home", fix=_BEGIN, code=ExitCode.NOT_FOUND)
    try:
        peer = homes.read_peer(home)
        custody = read_key_file(home.keys / "working").custody
    except BackupPeerError as exc:
        return broken_by("identity", exc)
    except OSError as exc:
        return _broken("identity", f"a key file can't be read: {exc.strerror}", fix="make it readable for you")
    opened = {
        Custody.NOTHING: "its keys are open to whoever can read this home",
        Custody.PASSPHRASE: "its keys are under a passphrase",
        Custody.KEYRING: "its keys are opened by the keyring of this system",
    }[custody]
    tail = "; it restores, and makes no backups" if home.is_read_only else ""
    return Finding(link="identity", state=State.OK, text=f"{shorten_id(peer)}, {opened}{tail}")


def examine_settings(home: Home) -> Finding:
    """Say whether the settings can be read and meant; the key that can't is named."""
    try:
        config = read_config(home)
        check_servers(config.servers or [])
        parse_proxy(config.proxy or "")
    except BackupPeerError as exc:
        return broken_by("settings", exc)
    if not home.config.exists():
        return Finding(link="settings", state=State.OK, text="none are set: the defaults hold")
    sets = format_count(len(config.sets), "backup set")
    return Finding(link="settings", state=State.OK, text=f"{_name(home.config)} can be read: {sets}")


def examine_formats(home: Home) -> Finding | None:
    """Say which database of the home keeps its agent from starting, as a newer version wrote it; None if none does.

    Damage is not looked for: that is told when the agent starts.
    """
    from backuppeer.agent.home.state import SCRIPTS as STATE  # noqa: PLC0415 - this and below: as the agent has them
    from backuppeer.agent.repute.shelves import SCHEMA as RECEIPTS  # noqa: PLC0415
    from backuppeer.db import refuse_foreign  # noqa: PLC0415
    from backuppeer.shares.accounts import SCHEMA as PROVEN  # noqa: PLC0415
    from backuppeer.trust.schema import SCRIPTS as EVIDENCE  # noqa: PLC0415

    known = {
        home.state: STATE,
        home.path / "evidence.db": EVIDENCE,
        home.path / "receipts.db": RECEIPTS,
        home.repository / "proven.db": PROVEN,
    }
    for path, scripts in known.items():
        try:
            refuse_foreign(path, len(scripts))
        except NewerFormatError as exc:
            return broken_by("agent", exc)
        except BackupPeerError:
            continue
    return None


def examine_disks(home: Home, store: Path | None) -> Iterator[Finding]:
    """Say how much room there is where the home lies, and where the packs of others do (store; None: nowhere)."""
    if home.path.is_dir():
        yield _examine_disk(home.path, "home")
    if store is not None and store.is_dir():
        yield _examine_store(store)


def _examine_disk(place: Path, name: str) -> Finding:
    try:
        room = os.statvfs(place)
    except OSError as exc:
        return _broken("disk", f"{_name(place)} can't be looked at: {exc.strerror}", name=name)
    free = room.f_bavail * room.f_frsize
    text = f"{format_size(free)} free where the home lies"
    if free < HOME_FULL_BYTES or (room.f_files and not room.f_favail):
        text = text if free < HOME_FULL_BYTES else f"no more files fit on the disk of {_name(place)}"
        fix = "free some space there: nothing is lost, and what was done so far is kept"
        return _broken("disk", text, fix=fix, name=name, code=ExitCode.REFUSED)
    if free < HOME_LOW_BYTES:
        fix = "free some space there before the next large backup"
        return Finding(link="disk", name=name, state=State.WARNING, text=text, fix=fix)
    return Finding(link="disk", name=name, state=State.OK, text=text)


def _examine_store(store: Path) -> Finding:
    room = os.statvfs(store)
    free = room.f_bavail * room.f_frsize
    text = f"{format_size(free)} free at {_name(store)}, where the packs of others lie"
    if free <= FREE_DISK_FLOOR_BYTES:
        text = f"{text}: no more are taken, {format_size(FREE_DISK_FLOOR_BYTES)} stay free"
        fix = "free some space there, or `backup-peer host --move-store DIR` to a larger disk"
        return Finding(link="disk", name="store", state=State.WARNING, text=text, fix=fix)
    return Finding(link="disk", name="store", state=State.OK, text=text)


def _broken(link: str, text: str, *, fix: str = "", name: str = "", code: ExitCode = ExitCode.UNEXPECTED) -> Finding:
    return Finding(link=link, name=name, state=State.BROKEN, text=text, fix=fix, code=int(code))


def _list(paths: list[Path]) -> str:
    further = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(_name, paths[:_SHOWN])) + further


def _name(path: Path) -> str:
    return escape_name(os.fspath(path))
