"""Which lines are drawn of each scenario, out of its metrics. Pure.

Knows: series, what stands in a panel and is marked in it. Must not know: how anything is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from simulation.courses import OURS
from simulation.hosts import CYCLE, GOOD_DAYS
from simulation.series import ALONE, CON_DAY, LAZY_DAY, NEW_NAME, SLANDERED, read_point

NAMES: Final = {OURS: "BackupPeer", "mean": "mean of ratings", "storj": "Storj's beta", "earlier": "the earlier tool"}


@dataclass(frozen=True, slots=True)
class Line:
    """A series to be drawn. who: as in the metrics; text: what its legend says."""

    scheme: str
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes with some lines. marks: days at which something happens, and what; band: of whom ours has one."""

    title: str
    lines: tuple[Line, ...]
    marks: tuple[tuple[int, str], ...] = ()
    band: str | None = None


@dataclass(slots=True)
class Curve:
    """A line's points, by day. least, most: of all viewers and worlds, where the panel has a band of it."""

    days: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)


def _beside(title: str, *marks: tuple[int, str], who: str = "") -> Panel:
    lines = tuple(Line(scheme, who, text) for scheme, text in NAMES.items())
    return Panel(title, lines, marks, band=who)


def _slander(who: str) -> tuple[Line, ...]:
    return (
        Line(OURS, f"{SLANDERED} by {who}", "BackupPeer, slandered"),
        Line("mean", f"{SLANDERED} by {who}", "mean of ratings, slandered"),
        Line(OURS, f"{ALONE} by {who}", "BackupPeer, left alone"),
    )


_SPELLS: Final = tuple((cycle * CYCLE + GOOD_DAYS, "bad for 5 days" if not cycle else "") for cycle in range(5))
PANELS: Final[dict[str, tuple[Panel, ...]]] = {
    "honest": (_beside("honest: hosts of 20 viewers, disks that die among them"),),
    "lazy": (_beside("lazy: drops one leaf in twenty", (LAZY_DAY, "drops 5 %")),),
    "laptop": (_beside("laptop: up 40 % of the time, as promised"),),
    "long-con": (_beside("long con: good for half a year", (CON_DAY, "destroys all")),),
    "on-off": (_beside("on-off: 60 days good, 5 days wrong bytes", *_SPELLS),),
    "on-off-refusing": (_beside("on-off: 60 days good, 5 days of refusals", *_SPELLS),),
    "whitewash": (
        _beside("whitewash: the old name", (GOOD_DAYS, "loses a tenth")),
        _beside("a new name, from the day after on", (GOOD_DAYS + 1, "appears"), who=NEW_NAME),
    ),
    "slander": (
        Panel("slander by 100: who stores with the host", _slander("owners")),
        Panel("slander by 100: who only hears of it, most of all", _slander("strangers")),
    ),
}


def find_curves(metrics: Mapping[str, float], panel: Panel) -> Sequence[tuple[Line, Curve]]:
    """Return the lines of a panel of which there are points, in its order, each with its curve in the order of days."""
    points = sorted((point, value) for metric, value in metrics.items() if (point := read_point(metric)))
    found: dict[tuple[str, str], Curve] = {}
    for point, value in points:
        curve = found.setdefault((point.scheme, point.who), Curve())
        if point.stat:
            (curve.least if point.stat == "lowest" else curve.most).append(value)
        else:
            curve.days.append(point.day)
            curve.values.append(value)
    lines = [line for line in panel.lines if (line.scheme, line.who) in found]
    return [(line, found[line.scheme, line.who]) for line in lines]
