"""What a report tells, and what it never does."""

import json
from pathlib import Path

import pytest

from backuppeer import limits
from backuppeer.cli.checkup.findings import Finding
from backuppeer.cli.checkup.report import Cleaner, build_report, read_log
from backuppeer.control.sessions import SessionRow
from backuppeer.crypto.words import encode_words
from control.dummy import PEER

HOME = Path("/home/me/.local/share/backup-peer")
NAMES = {"old alice": "1", PEER: "1", PEER[:13]: "1"}
WORDS = encode_words(bytes(range(32)))
SECRETS = (
    *(WORDS, bytes(range(32)).hex(), "203.0.113.9", "2001:db8::7", "diary of mine.txt", "old alice", PEER),
    *("/home/me", "/mnt/usb", "hunter2", "fe80::1"),
)
TEXTS = (
    f"old alice ({PEER[:13]}) at 203.0.113.9:4433 and [2001:db8::7]:4433 is away: {PEER}",
    "/mnt/usb/private/diary of mine.txt: permission denied",
    f"{HOME}/config.toml can be read; /home/me/x: no such file",
    f"the words are {WORDS}",
    f"key {bytes(range(32)).hex()} and socks5://me:hunter2@proxy.example:1080",
    'the peer says: "diary of mine.txt"',
    "dialled 2001:db8::7, fe80::1 and ::1 at 2026-11-22T21:30:05Z",
)


def report(*, is_open, log=()):
    findings = [Finding(link="peer", name="old alice", state="broken", text=text, fix=text) for text in TEXTS]
    session = SessionRow(
        peer_id=PEER,
        alias="old alice",
        state="idle",
        path="direct",
        rtt_ms=1.0,
        sent_bytes=1,
        received_bytes=2,
        since="",
    )
    made = build_report(findings, [session], log, Cleaner(NAMES, home=HOME, is_open=is_open))
    return made.decode(), json.loads(made)


def test_nothing_secret_is_in_a_report():
    lines = [json.dumps({"event": event, "reason": text}) for text in TEXTS for event in ("session ended", "a file")]
    text, told = report(is_open=False, log=lines)
    assert [secret for secret in SECRETS if secret in text] == []
    assert told["findings"][0]["name"] == "peer 1"
    assert "peer 1" in told["findings"][0]["text"]
    assert told["findings"][1]["text"] == "<path>: permission denied"
    assert told["findings"][2]["text"].startswith("HOME/config.toml")
    assert "2026-11-22T21:30:05Z" in told["findings"][6]["text"]


def test_names_and_addresses_are_told_when_they_are_asked_for_and_secrets_are_not():
    text, told = report(is_open=True)
    kept = {"203.0.113.9", "2001:db8::7", "old alice", PEER, "fe80::1"}
    assert {secret for secret in SECRETS if secret in text} == kept
    assert "socks5://proxy.example:1080" in told["findings"][4]["text"]


def test_of_the_log_only_named_fields_are_told_and_reasons_of_the_network_alone():
    lines = [
        json.dumps(
            {"event": "session ended", "reason": "it stopped answering", "peer": "bp1abcdef", "token": "hunter2"}
        ),
        json.dumps({"event": "file left out", "reason": "diary of mine.txt"}),
        "no json",
        "[1]",
        "[" * 100_000,
    ]
    _, told = report(is_open=True, log=lines)
    assert told["log"] == [{"event": "session ended", "reason": "it stopped answering"}, {"event": "file left out"}]


def test_reasons_may_name_peers_by_names_of_before_so_they_are_told_with_names_alone():
    line = json.dumps({"event": "session ended", "reason": "uncle bob can't be reached"})
    text, told = report(is_open=False, log=[line])
    assert "bob" not in text
    assert told["log"] == [{"event": "session ended"}]


def test_the_end_of_a_long_log_is_taken_and_long_texts_are_cut(tmp_path):
    path = tmp_path / "agent.log"
    line = json.dumps({"event": "so " * 400})
    path.write_text(f"{line}\n" * (2 * limits.BUNDLE_READ_BYTES // len(line)))
    lines = read_log(path)
    assert len("\n".join(lines)) <= limits.BUNDLE_READ_BYTES
    _, told = report(is_open=False, log=lines)
    assert len(told["log"]) == limits.BUNDLE_LINES
    assert {len(each["event"]) for each in told["log"]} == {limits.BUNDLE_TEXT_CHARS}
    assert read_log(tmp_path / "none") == []


def clean(text, *, sets=(), names=NAMES):
    return Cleaner(names, home=HOME, is_open=False, sets=sets).clean(text)


@pytest.mark.parametrize("name", ["tax-evasion-2025", "tax", "set", "1"])
def test_names_of_sets_are_numbers_and_what_they_are_part_of_stays(name):
    text = f"sets.{name}.paths is bad; `backup-peer backup --set {name}`"
    told = clean(text, sets=[name, "taxes"])
    assert told == "sets.set 1.paths is bad; `backup-peer backup --set set 1`"
    assert clean("the default holds, `backup-peer backup` too", sets=["default", "backup"]).startswith("the default")
    assert "backup-peer" in clean("`backup-peer backup --set backup`", sets=["backup"])


def test_a_name_that_stands_in_another_one_is_not_taken_for_it():
    assert clean("peer and 1 and old alice", names={"old alice": "1", "peer": "2", "1": "3"}) == (
        "peer 2 and peer 3 and peer 1"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("dialled 203.0.113.9.", "203.0.113.9, 203.0.113.9: refused", "at 203.0.113.9:443.", "...203.0.113.9..."),
        *("2001:db8::7: refused", "2001:db8::7.", "from 2001:db8::", "::ffff:203.0.113.9."),
    ],
)
def test_an_address_is_found_whatever_stands_around_it(text):
    told = clean(text)
    assert "<address>" in told
    assert [part for part in ("203", "113", "2001", "db8") if part in told] == []


@pytest.mark.parametrize("between", [" ", "  ", ", ", ",", "\n", " - ", "\t"])
@pytest.mark.parametrize("change", [str, str.upper, str.title])
@pytest.mark.parametrize("count", [6, 12, 24])
def test_words_are_found_however_they_are_written(between, change, count):
    words = WORDS.split()[:count]
    told = clean(f"I typed: {between.join(change(word) for word in words)}")
    assert [word for word in words if word in told.lower().split()] == []
    assert "<words>" in told
    numbered = clean(" ".join(f"{number}. {word}" for number, word in enumerate(words, 1)))
    assert [word for word in words if word in numbered] == []


def test_what_the_end_of_a_text_cuts_is_cleaned_before():
    secret = bytes(range(32)).hex()
    told = clean("so " * (limits.BUNDLE_TEXT_CHARS // 3 - 5) + secret)
    assert secret[:8] not in told
    assert len(told) <= limits.BUNDLE_TEXT_CHARS


@pytest.mark.parametrize(
    "text",
    [
        *("21:30:05", "it doesn't answer, and it's off", "open in 3 ms; answers in 2 ms"),
        "`backup-peer agent stop`, then `backup-peer agent start`, then `backup-peer doctor` again",
        "set this machine's clock: `sudo timedatectl set-ntp true`, or in the system's settings",
    ],
)
def test_what_is_no_secret_stays(text):
    assert Cleaner({}, home=HOME, is_open=False).clean(text) == text
