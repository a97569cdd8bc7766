"""Whether a machine runs on its battery, by folders as the kernel makes them."""

import pytest

from backuppeer.agent.home.config import Config, ScheduleSettings
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.power import find_obstacle, is_on_battery

MAINS = {"type": "Mains", "online": "1"}
UNPLUGGED = {"type": "Mains", "online": "0"}
EMPTYING = {"type": "Battery", "status": "Discharging", "scope": "System"}
CHARGING = {"type": "Battery", "status": "Charging"}
MOUSE = {"type": "Battery", "status": "Discharging", "scope": "Device"}
USB = {"type": "USB", "online": "1"}


@pytest.fixture
def supplies(tmp_path):
    def make(*given):
        for number, files in enumerate(given):
            folder = tmp_path / "supplies" / str(number)
            folder.mkdir(parents=True)
            for name, text in files.items():
                (folder / name).write_text(f"{text}\n")
        return tmp_path / "supplies"

    return make


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), False),
        ((MAINS,), False),
        ((UNPLUGGED, EMPTYING), True),
        ((MAINS, EMPTYING), False),
        ((USB, EMPTYING), False),
        ((CHARGING,), False),
        ((MOUSE,), False),
        ((UNPLUGGED, MOUSE), False),
        (({"type": "Battery"},), False),
        ((EMPTYING, {}), True),
    ],
)
def test_it_is_on_battery_when_nothing_else_gives_power_and_one_of_its_own_is_emptied(supplies, given, expected):
    assert is_on_battery(supplies(*given)) is expected


@pytest.mark.parametrize(("setting", "waits"), [(None, False), ("yes", False), ("no", True)])
def test_backups_wait_on_battery_only_where_a_person_said_so(supplies, tmp_path, setting, waits):
    home = Home(tmp_path / "home")
    if setting:
        write_config(home, Config(schedule=ScheduleSettings(on_battery=setting)))
    assert bool(find_obstacle(home, supplies(UNPLUGGED, EMPTYING))) is waits
