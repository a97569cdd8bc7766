"""What is wrong in the settings is told with file, line and key."""

import pytest

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.slips import find_line
from backuppeer.errors import UserError

TEXT = """# mine
region = "EU"
audits = "on"

[trust]
share_receipts = "yes"

[sets.photos]
paths = [
  "/home/me/photos",
]
copies = 1
schedule = "daily"

[sets.photos.retention]
daily = 7

[ sets . "my docs" ]
paths = ["/home/me/docs"]
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("region", 2),
        ("trust.share_receipts", 6),
        ("sets.photos", 8),
        ("sets.photos.paths[0]", 9),
        ("sets.photos: copies is below 1", 12),
        ("sets.photos.retention.daily", 16),
        ("sets.photos.hooks.before", 8),
        ("nonsense", 0),
        ("", 0),
    ],
)
def test_a_key_is_found_at_its_line_or_at_that_of_the_table_around_it(key, line):
    assert find_line(TEXT, key) == line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('region = "EU"', "region = EU"), "line 2: invalid value"),
        (('region = "EU"', 'regoin = "EU"'), "line 2: unknown key regoin"),
        (('region = "EU"', "region = 5"), "line 2: region: "),
        (('audits = "on"', 'audits = "maybe"'), "line 3: audits: "),
        (('share_receipts = "yes"', 'share_receipts = "yess"'), "line 6: trust.share_receipts: "),
        (('share_receipts = "yes"', 'share = "yes"'), "line 6: unknown key share in trust"),
        (("copies = 1", "copies = 0"), "line 12: sets.photos: copies is below 1"),
        (("copies = 1", 'copies = "1"'), "line 12: sets.photos.copies: "),
        (("copies = 1", "copys = 1"), "line 12: unknown key copys in sets.photos"),
        (('"/home/me/photos",', "5,"), "line 9: sets.photos.paths"),
        (("daily = 7", "dayly = 7"), "line 16: unknown key dayly in sets.photos.retention"),
        (('schedule = "daily"', 'schedule = "now and then"'), "line "),
    ],
)
def test_what_can_not_be_meant_is_told_with_file_line_and_key(tmp_path, change, said):
    assert change[0] in TEXT
    home = Home(tmp_path)
    home.config.write_text(TEXT.replace(*change))
    with pytest.raises(UserError) as caught:
        read_config(home)
    assert caught.value.message.startswith(f"{home.config}: {said}")
    assert caught.value.hint
