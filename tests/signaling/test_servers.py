import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backuppeer
from backuppeer.errors import ExitCode, UserError
from backuppeer.signaling.servers import (
    DEFAULT_SERVER,
    authority,
    is_safe_foreign,
    is_server_url,
    parse_server,
    parse_servers,
    resolve_servers,
)

SOURCE = Path(backuppeer.__file__).parent
ADDRESS = re.compile(r"wss?://[A-Za-z0-9\[]")
RESERVED = re.compile(r"wss?://[a-z0-9-]+\.example\b")  # RFC 2606: belongs to nobody, stands in help texts
IDENTIFIER = re.compile(r"https://json-schema\.org/\S+")  # the name of a dialect, never dialled
HOST_NAME = re.compile(r"wiuf|\b[a-z0-9-]+\.(?:net|org|com|io|dev)\b")


def test_no_other_server_address_or_host_name_stands_in_the_source():
    found = {
        (str(path.relative_to(SOURCE)), line.strip())
        for path in SOURCE.rglob("*.py")
        for line in path.read_text().splitlines()
        if ADDRESS.search(RESERVED.sub("", line)) or HOST_NAME.search(IDENTIFIER.sub("", line))
    }
    assert found == {("signaling/servers.py", f'DEFAULT_SERVER: Final = "{DEFAULT_SERVER}"')}


def test_flag_beats_environment_beats_config_beats_default():
    assert resolve_servers(["wss://f.example"], "wss://e.example", ["wss://c.example"]) == ["wss://f.example"]
    assert resolve_servers(None, "wss://e.example", ["wss://c.example"]) == ["wss://e.example"]
    assert resolve_servers(None, None, ["wss://c.example"]) == ["wss://c.example"]
    assert resolve_servers(None, None, None) == [DEFAULT_SERVER]


def test_set_but_empty_means_none():
    assert resolve_servers([], "wss://e.example", None) == []
    assert resolve_servers([""], None, None) == []
    assert resolve_servers(None, "", ["wss://c.example"]) == []
    assert resolve_servers(None, None, []) == []


def test_a_list_is_split_normalised_and_each_named_once():
    text = " ws://A.example:80/, wss://b.example:443 ws://a.example,ws://c.example:3000/x/ "
    assert parse_servers(text) == ["ws://a.example", "wss://b.example", "ws://c.example:3000/x"]


def test_a_flag_may_hold_a_list_too():
    assert resolve_servers(["ws://a.example,ws://b.example", "ws://c.example"], None, None) == [
        "ws://a.example",
        "ws://b.example",
        "ws://c.example",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:3000",
        "http://a.example",
        "https://a.example",
        "ws://",
        "ws:///path",
        "ws://a.example:0",
        "ws://a.example:99999",
        "ws://a.example:x",
        "ws://user@a.example",
        "ws://a.example?x=1",
        "ws://a.example#x",
        "ws://a.example\\evil",
        "ws://a.exa\nmple",
        "ws://bücher.example",
        "wss://" + "a" * 251,
    ],
)
def test_what_is_no_server_address_is_a_usage_error(text):
    with pytest.raises(UserError) as caught:
        parse_server(text)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint
    assert not is_server_url(text)


def test_more_than_sixteen_servers_are_refused():
    parse_servers(",".join(f"ws://h{n}.example" for n in range(16)))
    with pytest.raises(UserError, match="at most 16"):
        parse_servers(",".join(f"ws://h{n}.example" for n in range(17)))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://A.example", "a.example"),
        ("wss://a.example:443", "a.example"),
        ("ws://a.example:443", "a.example:443"),
        ("ws://127.0.0.1:3000", "127.0.0.1:3000"),
        ("ws://[::1]:3000/x", "[::1]:3000"),
    ],
)
def test_the_authority_is_what_the_host_header_says(url, expected):
    assert authority(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://signal.example.org", True),
        ("ws://signal.example.org", False),
        ("wss://localhost", False),
        ("wss://x.localhost", False),
        ("wss://router.lan", False),
        ("wss://printer", False),
        ("wss://192.168.0.1", False),
        ("wss://127.1", False),
        ("wss://0x7f.0x1", False),
        ("wss://[::1]", False),
        ("nonsense", False),
    ],
)
def test_only_public_names_over_tls_are_dialled_on_a_peers_word(url, expected):
    assert is_safe_foreign(url) is expected


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_usage_error(text):
    try:
        url = parse_server(text)
    except UserError:
        return
    assert parse_server(url) == url


@given(st.text(alphabet="ws:/[]@.%0123456789abc?#", max_size=30).map(lambda t: "ws://" + t))
def test_near_addresses_normalise_to_a_fixed_point(text):
    try:
        url = parse_server(text)
    except UserError:
        return
    assert parse_server(url) == url
