"""Whether this machine runs on its battery, as Linux tells (/sys/class/power_supply).

Knows: the kernel's files. Must not know: what is put off for it. Elsewhere, and where nothing can be told, it does not.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backuppeer.agent.home.config import may_run_on_battery
from backuppeer.agent.home.home import Home

SUPPLIES: Final = Path("/sys/class/power_supply")
_OUTSIDE: Final = frozenset({"Mains", "USB", "Wireless"})
CAN_TELL: Final = sys.platform == "linux"


def is_on_battery(supplies: Path = SUPPLIES) -> bool:
    """Return whether nothing from outside gives power and a battery of this machine is being emptied."""
    found = list(_list_supplies(supplies))
    if any(kind in _OUTSIDE and online == "1" for kind, _, online, __ in found):
        return False
    # A mouse and a headset have batteries of their own: their scope is the device.
    return any(kind == "Battery" and status == "Discharging" and scope != "Device" for kind, status, _, scope in found)


def find_obstacle(home: Home, supplies: Path = SUPPLIES) -> str:
    """Return why backups by schedule wait, in words; "" when they need not."""
    if is_on_battery(supplies) and not may_run_on_battery(home):
        return "this machine runs on its battery"
    return ""


def _list_supplies(supplies: Path) -> Iterator[tuple[str, str, str, str]]:
    try:
        folders = sorted(supplies.iterdir())
    except OSError:
        return
    for folder in folders:
        yield _read(folder / "type"), _read(folder / "status"), _read(folder / "online"), _read(folder / "scope")


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace").strip()
    except OSError:
        return ""
