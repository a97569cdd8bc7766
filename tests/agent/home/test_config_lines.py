"""The line in which a slip stands, by what is told of it."""

import pytest

from backuppeer.agent.home.config import parse_config
from backuppeer.agent.home.config_lines import find_line
from backuppeer.errors import UserError

TEXT = """# mine
servers = ["wss://one.example"]
audits = "on"

[network]
lan = "yes"

[sets.default]
paths = ["/home"]
schedule = "daily 03:00"
[sets.default.retention]
daily = 7
[sets.old-photos]
paths = ["/p"]
copies = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('audits = "on"', 'audits = "perhaps"', 3),
        ('audits = "on"', "audit = 1", 3),
        ('servers = ["wss://one.example"]', "servers = 7", 2),
        ('lan = "yes"', 'lam = "yes"', 6),
        ('lan = "yes"', "lan = 1", 6),
        ('schedule = "daily 03:00"', "schedule = 3", 10),
        ("daily = 7", 'daily = "seven"', 12),
        ("daily = 7", "daily = -2", 12),
        ("daily = 7", 'within = "long"', 12),
        ('schedule = "daily 03:00"', 'schedule = "whenever"', 10),
        ('schedule = "daily 03:00"', 'window = "at night"', 10),
        ("copies = 2", "copies = 0", 15),
        ("[sets.old-photos]", '[sets."old photos"]', 13),
        ('paths = ["/home"]', "paths = []", 9),
        ('paths = ["/home"]', "colour = 1", 9),
        ('audits = "on"', "audits = on", 3),
        ("[network]", "[network", 5),
    ],
)
def test_a_slip_is_found_by_key_or_by_what_is_no_toml(old, new, line):
    text = TEXT.replace(old, new)
    with pytest.raises(UserError) as told:
        parse_config(text)
    assert find_line(text, told.value.message) == line, told.value.message


@pytest.mark.parametrize("text", [TEXT, "no toml at all [", ""])
def test_what_names_no_key_has_no_line(text):
    assert find_line(text, "something is wrong with servers.of.others") is None
