"""The settings of notifications: what can be meant, and that no secret of an address is ever shown."""

import traceback

import pytest

from backuppeer.agent.home.config import DEFAULTS, KEYS, Config, change_config, parse_config, value_of
from backuppeer.agent.home.notify import NotifySettings, mask_urls
from backuppeer.clock import parse_duration
from backuppeer.errors import UserError
from backuppeer.limits import NOTIFY_AFTER_LEAST_S, NOTIFY_AFTER_S, NOTIFY_URL_CHARS, NOTIFY_URLS

SECRET = "mailto://me:hunter2@mail.example"


def test_addresses_stand_apart_by_spaces_and_are_shown_by_service_alone():
    config = change_config(Config(), "notify.urls", f" {SECRET}?to=a@x,b@x\n tgram://123:TOKEN/chat ")
    assert config.notify.urls == [f"{SECRET}?to=a@x,b@x", "tgram://123:TOKEN/chat"]
    assert value_of(config, "notify.urls") == ["mailto://***", "tgram://***"]
    assert "hunter2" not in repr(config)
    assert "TOKEN" not in repr(config)


def test_keys_of_one_table_leave_each_other_alone_and_the_last_takes_the_table_along():
    config = change_config(Config(), "notify.urls", SECRET)
    config = change_config(config, "notify.after", "5d")
    assert (config.notify.urls, config.notify.after_s) == ([SECRET], 5 * 86_400)
    config = change_config(config, "notify.urls", "")
    assert (config.notify.urls, config.notify.after) == (None, "5d")
    assert change_config(config, "notify.after", "").notify is None
    assert NotifySettings().after_s == NOTIFY_AFTER_S == parse_duration(DEFAULTS["notify.after"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("notify.urls", "hunter2", "notify.urls: number 1 is no address of a service"),
        ("notify.urls", f"{SECRET} ://hunter2", "notify.urls: number 2 is no address of a service"),
        ("notify.urls", f"json://hunter2{'x' * NOTIFY_URL_CHARS}", "notify.urls: number 1 is no address of a service"),
        ("notify.urls", "json://hunter2\x1b[31m", "notify.urls: number 1 is no address of a service"),
        ("notify.urls", " ".join([SECRET] * (NOTIFY_URLS + 1)), f"notify.urls: {NOTIFY_URLS + 1} addresses"),
        ("notify.after", "soon", "notify.after: not a duration: 'soon'"),
        ("notify.after", f"{NOTIFY_AFTER_LEAST_S - 1}s", f"notify.after: '{NOTIFY_AFTER_LEAST_S - 1}s' is too short"),
        ("notify.report", "daily", "notify.report: 'daily' is neither weekly nor never"),
        ("schedule.on_battery", "maybe", "schedule.on_battery: 'maybe' is neither yes nor no"),
    ],
)
def test_what_can_t_be_meant_is_refused_by_the_name_of_its_key_and_without_a_secret(key, value, said):
    with pytest.raises(UserError) as caught:
        change_config(Config(), key, value)
    assert caught.value.message == said
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    "line", ['urls = ["hunter2"]', 'urls = "hunter2://x"', "urls = [1]", 'after = "soon"', 'url = ""']
)
def test_a_file_that_was_changed_by_hand_is_checked_as_well(line):
    with pytest.raises(UserError) as caught:
        parse_config(f"[notify]\n{line}\n")
    assert "notify" in caught.value.message
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_what_names_no_service_is_masked_whole():
    assert mask_urls(["hunter2", "json://hunter2"]) == ["?://***", "json://***"]


@pytest.mark.parametrize(
    "text",
    [
        '[notify]\n"json://user:hunter2@h" = 1\n',
        '"json://user:hunter2@h in notify (at line 1, column 1)" = 1\n',
        '["json://user:hunter2@h"]\n["json://user:hunter2@h"]\n',
        '[notify]\n"json://user:hunter2@h".after = 1\n[notify."json://user:hunter2@h"]\n',
    ],
)
def test_an_address_that_was_written_as_a_key_is_not_shown(text):
    with pytest.raises(UserError) as caught:
        parse_config(text)
    assert "json://***" in caught.value.message
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("table", ["notify", "bandwidth", "schedule"])
def test_an_unknown_key_of_a_table_is_answered_with_the_keys_of_that_table(table):
    with pytest.raises(UserError) as caught:
        parse_config(f"[{table}]\nunkown = 1\n")
    names = ", ".join(key.partition(".")[2] for key in KEYS if key.startswith(f"{table}."))
    assert set(names.split(", ")) <= set(caught.value.hint.removeprefix("keys there are: ").split(" (")[0].split(", "))
    assert "servers" not in caught.value.hint
