"""How much may be sent and received, as the settings say it (`[bandwidth]`; ADR 88).

Knows: the keys, speeds as people write them, which caps hold at a moment. Must not know: who keeps to them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

import msgspec

from backuppeer.agent.home.hours import find_begin_ms, find_end_ms, parse_hours
from backuppeer.errors import UserError
from backuppeer.limits import BANDWIDTH_LEAST_BYTES_PER_S, BANDWIDTH_MOST_BYTES_PER_S

_UNLIMITED: Final = "unlimited"
_SPEED: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?(?:(k|m|g|t|)(i?)(b|byte|bit)) ?(?:/ ?s|ps|/sec)?")
_BITS: Final = re.compile(r"[0-9 ][MG]b(?!it|yte)")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_HINT: Final = "write it like 5MB/s, 500kB/s or 40Mbit/s; unlimited for no cap"


class BandwidthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Settings of the table `[bandwidth]`: speeds as text, None = not set.

    up, down: what this machine sends and receives. host_up, host_down: what of it is for others; where these are set
    that counts apart. quiet: hours of each day in which quiet_… hold instead, as far as they are set.
    """

    up: str | None = None
    down: str | None = None
    host_up: str | None = None
    host_down: str | None = None
    quiet: str | None = None
    quiet_up: str | None = None
    quiet_down: str | None = None
    quiet_host_up: str | None = None
    quiet_host_down: str | None = None

    def check(self) -> None:
        """Check what types don't say.

        Raises:
            UserError: a speed or hours that can't be meant; names the key.

        """
        for name, text in msgspec.structs.asdict(self).items():
            parse: Callable[[str], object] = parse_hours if name == "quiet" else parse_speed
            try:
                _ = text is not None and parse(text)
            except UserError as exc:
                raise UserError(f"bandwidth.{name}: {exc.message}", hint=exc.hint) from exc


BANDWIDTH_KEYS: Final = tuple(f"bandwidth.{name}" for name in BandwidthSettings.__struct_fields__)
BANDWIDTH_DEFAULTS: Final = {
    "bandwidth.up": _UNLIMITED,
    "bandwidth.down": _UNLIMITED,
    "bandwidth.host_up": "counts as bandwidth.up",
    "bandwidth.host_down": "counts as bandwidth.down",
    **{key: f"as {key.replace('quiet_', '')}" for key in BANDWIDTH_KEYS if "quiet_" in key},
}
"""What holds while one is not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What holds at a moment, bytes per second, 0 = no cap; of hosting None: it shares the cap above.

    until_ms: when other caps hold; 0 = these stay.
    """

    up: int = 0
    down: int = 0
    host_up: int | None = None
    host_down: int | None = None
    until_ms: int = 0


def parse_speed(text: str) -> int:
    """Return the bytes per second that `5MB/s`, `500 kB/s`, `4MiB/s` or `40Mbit/s` stands for; 0 for `unlimited`.

    Raises:
        UserError: no speed, or one that nothing can work with.

    """
    cleaned = text.strip()
    if cleaned.lower() == _UNLIMITED:
        return 0
    if _BITS.search(cleaned):
        raise UserError(f"bits or bytes? {text[:40]!r}", hint="write MB/s for bytes, Mbit/s for bits")
    found = _SPEED.fullmatch(cleaned.lower())
    if not found:
        raise UserError(f"not a speed: {text[:40]!r}", hint=_HINT)
    fraction = found[2] or ""
    multiple = (1024 if found[4] else 1000) ** _POWERS[found[3]]
    speed: int = int(found[1] + fraction) * multiple // 10 ** len(fraction) // (8 if found[5] == "bit" else 1)
    if not BANDWIDTH_LEAST_BYTES_PER_S <= speed <= BANDWIDTH_MOST_BYTES_PER_S:
        least, most = BANDWIDTH_LEAST_BYTES_PER_S // 1000, BANDWIDTH_MOST_BYTES_PER_S // 10**12
        raise UserError(
            f"no cap that can be kept to: {text[:40]!r}",
            hint=f"from {least}kB/s, with which transfers still end in time, to {most}TB/s; or unlimited",
        )
    return speed


def find_caps(settings: BandwidthSettings | None, now_ms: int, zone: tzinfo | None = None) -> Caps:
    """Return the caps that hold at `now_ms`. `zone`: in which hours are meant; None = the machine's."""
    if settings is None:
        return Caps()
    if settings.quiet is None:
        return _read(settings, is_quiet=False)
    hours = parse_hours(settings.quiet)
    end_ms = find_end_ms(hours, now_ms, zone)
    now, other = (_read(settings, is_quiet=quiet) for quiet in (bool(end_ms), not end_ms))
    until_ms = 0 if now == other else end_ms or find_begin_ms(hours, now_ms, zone)
    return Caps(up=now.up, down=now.down, host_up=now.host_up, host_down=now.host_down, until_ms=until_ms)


def _read(settings: BandwidthSettings, *, is_quiet: bool) -> Caps:
    def find(name: str) -> int | None:
        usual: str | None = getattr(settings, name)
        quiet: str | None = getattr(settings, f"quiet_{name}") if is_quiet else None
        text = usual if quiet is None else quiet
        return None if text is None else parse_speed(text)

    return Caps(up=find("up") or 0, down=find("down") or 0, host_up=find("host_up"), host_down=find("host_down"))
