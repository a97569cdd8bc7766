"""What the program wants to reach, beside what it reached. Pure.

Knows: the aims, from which cells each is told. Must not know: how cells were taken. Only full scale counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from browsing import COMPLETE, FIRST
from catalogue import LOOK_UP, MEMORY
from cells import BUSY_SHARE, Cell, Key
from idling import CORE, PRIVATE, WAKES
from link import LANES, QUIC, RATE_BYTES_S
from recovery import RATE, READ_SHARE
from relay import ONE, SHARE
from rows import OURS, REST, RESTORE
from scores import COLD, OWN_DAY, RECEIPT
from source import VERSIONS
from starting import AGENT, STATUS, VERSION

Cells = Mapping[Key, Cell]
_LATER: Final = VERSIONS[1:]


@dataclass(frozen=True, slots=True)
class Aim:
    """One line: how much at least, how much wanted. `row`: whose cells' times it is told from; empty: from no times.

    `is_most`: less is better.
    """

    says: str
    row: str
    least: float
    wanted: float
    unit: str
    reach: Callable[[Cells], float | None]
    is_most: bool = False

    def judge(self, value: float) -> str:
        """Return in a word whether `value` is enough."""
        for limit, word in ((self.wanted, "reached"), (self.least, "enough")):
            if value <= limit if self.is_most else value >= limit:
                return word
        return "missed"


def _cell(cells: Cells, row: str, work: str, peer: str = OURS) -> Cell | None:
    return cells.get(Key(row, 1.0, work, peer))


def _times(row: str, work: str) -> Callable[[Cells], float | None]:
    def reach(cells: Cells) -> float | None:
        ours, theirs = _cell(cells, row, work), _cell(cells, row, work, REST)
        return theirs.seconds / ours.seconds if ours and theirs else None

    return reach


def _whole_command(cells: Cells) -> float | None:
    found = _cell(cells, "thousand", "unchanged")
    return found.seconds if found else None


def _quic_share(cells: Cells) -> float | None:
    ours, raw = _cell(cells, "quic", "first", "backup-peer-quic"), _cell(cells, "quic", "first", "raw-quic")
    return raw.seconds / ours.seconds if ours and raw else None


def _accept_share(cells: Cells) -> float | None:
    ours, raw = _cell(cells, "quic", "first", "backup-peer-quic"), _cell(cells, "quic", "first", "raw-quic")
    costs = [cell.cpu_s("host") for cell in (ours, raw) if cell]
    return costs[0] / costs[1] if len(costs) == 2 and costs[1] else None


def _engine_rate(cells: Cells) -> float | None:
    found = _cell(cells, "engine", "first", "engine")
    return found.mib_s if found else None


def _new_bytes(cells: Cells) -> float | None:
    sums = []
    for peer in (OURS, REST):
        found = [_cell(cells, "src", version, peer) for version in _LATER]
        sizes = [cell.size(lambda s: s.new_bytes) for cell in found if cell]
        sums.append(sum(size for size in sizes if size is not None) if len(sizes) == len(_LATER) else 0)
    ours, theirs = sums
    return ours / theirs if ours and theirs else None


def _figure(row: str, work: str, figure: str) -> Callable[[Cells], float | None]:
    def reach(cells: Cells) -> float | None:
        found = _cell(cells, row, work, row)
        return found.figure(figure) if found else None

    return reach


def _peak(group: str) -> Callable[[Cells], float | None]:
    def reach(cells: Cells) -> float | None:
        ours = (OURS, "backup-peer-quic")
        peaks = [cell.peak_bytes(group) for key, cell in cells.items() if key.peer in ours and key.scale == 1]
        return max(peaks) / 1e6 if peaks else None

    return reach


def _link_share(work: str, peer: str) -> Callable[[Cells], float | None]:
    def reach(cells: Cells) -> float | None:
        found = _cell(cells, "link", work, peer)
        return found.mib_s * 2**20 / RATE_BYTES_S if found else None

    return reach


def _most(says: str, row: str, figure: str, limit: float, unit: str) -> Aim:
    """Return the aim that one figure of a row whose work has its name is `limit` at most."""
    return Aim(says, row, limit, limit, unit, _figure(row, row, figure), is_most=True)


AIMS: Final = (
    Aim("`large` first backup, to restic → REST", "large", 2.5, 4, "x", _times("large", "first")),
    Aim("`small` first backup, to restic → REST", "small", 2, 3.5, "x", _times("small", "first")),
    Aim("`small` unchanged, to restic → REST", "small", 3, 5, "x", _times("small", "unchanged")),
    Aim("restore of `large`, to restic ← REST", "large", 1.5, 3, "x", _times("large", RESTORE)),
    Aim("restore of `small`, to restic ← REST", "small", 1.5, 2.5, "x", _times("small", RESTORE)),
    Aim("`thousand` unchanged, the whole command", "thousand", 0.4, 0.25, "s", _whole_command, is_most=True),
    Aim("`quic` first backup, to raw QUIC", "quic", 0.7, 0.8, "x", _quic_share),
    Aim("`quic`, processor time of the host to raw QUIC's", "quic", 1.3, 1.1, "x", _accept_share, is_most=True),
    Aim("`engine` alone", "engine", 800, 1536, "MiB/s", _engine_rate),
    Aim("`src` versions 2 to 4, new bytes to restic's", "", 1.05, 1, "x", _new_bytes, is_most=True),
    Aim("highest peak of the owner, all rows", "", 300, 200, "MB", _peak("owner"), is_most=True),
    Aim("highest peak of the host, all rows", "", 150, 100, "MB", _peak("host"), is_most=True),
    Aim(
        "`index`, memory for each of 2 million chunks",
        "",
        64,
        64,
        "B",
        _figure("index", "look up", "bytes of memory per chunk"),
        is_most=True,
    ),
    Aim("`recovery`, directories read", "recovery", 50, 50, "MiB/s", _figure("recovery", "recover", RATE)),
    Aim(
        "`recovery`, bytes read to stored",
        "",
        0.02,
        0.01,
        "x",
        _figure("recovery", "recover", READ_SHARE),
        is_most=True,
    ),
    Aim(
        "`catalogue`, a look-up among 10 million packs",
        "",
        1,
        1,
        "ms",
        _figure("catalogue", "look up", LOOK_UP),
        is_most=True,
    ),
    Aim(
        "`catalogue`, memory for 10 million packs",
        "",
        150,
        150,
        "MB",
        _figure("catalogue", "look up", MEMORY),
        is_most=True,
    ),
    Aim(
        "`scores` of 10,000 peers by 100,000 receipts", "", 1, 0.5, "s", _figure("scores", "score", COLD), is_most=True
    ),
    Aim("`scores`, one more receipt", "", 10, 4, "ms", _figure("scores", "score", RECEIPT), is_most=True),
    Aim("`scores`, one more day with a host", "", 10, 1, "ms", _figure("scores", "score", OWN_DAY), is_most=True),
    Aim("`relay`, one pair", "", 80, 150, "MiB/s", _figure("relay", "relay", ONE)),
    Aim(f"`relay`, {SHARE}", "", 0.8, 0.9, "x", _figure("relay", "relay", SHARE)),
    Aim(
        "`browse` with three servers, first row",
        "browse",
        0.5,
        0.5,
        "s",
        _figure("browse", "browse", FIRST),
        is_most=True,
    ),
    Aim("`browse`, complete", "browse", 2.2, 2.2, "s", _figure("browse", "browse", COMPLETE), is_most=True),
    _most("`--version`", "start", VERSION, 0.12, "s"),
    _most("`status` of an agent that runs", "start", STATUS, 0.25, "s"),
    _most("an agent's start until it is ready", "start", AGENT, 1, "s"),
    _most("an idle agent with a session, processor", "idle", CORE, 0.5, "% of a core"),
    _most("an idle agent, memory of its own", "idle", PRIVATE, 130, "MB"),
    _most("an idle agent, wake-ups of its threads", "idle", WAKES, 10, "/s"),
    *(
        Aim(f"{work} over a line of 100 Mbit/s and 50 ms, {way}", "link", 0.85, 0.9, "x", _link_share(name, peer))
        for work, name in (("backup", "first"), ("restore", RESTORE))
        for way, peer in (("lanes", LANES), ("QUIC alone", QUIC))
    ),
)


def judge_aims(cells: Cells, *, cores: int) -> Iterator[tuple[Aim, float | None, str]]:
    """Yield each aim with what was reached, and a word on it: reached, enough, missed, not measured.

    With a star where others had more than BUSY_SHARE of the processors while it was measured.
    """
    busy = {key.row for key, cell in cells.items() if key.scale == 1 and cell.others_share(cores) > BUSY_SHARE}
    for aim in AIMS:
        value = aim.reach(cells)
        star = " *" if aim.row in busy else ""
        yield aim, value, "not measured" if value is None else aim.judge(value) + star
