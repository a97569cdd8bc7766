"""Rows and results that scripted agents answer with, and how a test runs a verb."""

import msgspec

from backuppeer.cli.main import main
from backuppeer.control import api, choosing, events, restoring, saving
from cli.terminal import check_output
from control.dummy import PEER

WORDS = "absent acid acoustic actual adapt afraid again album"
ROW = api.BrowseRow(
    peer_id=PEER,
    alias="",
    storage_bytes=10**11,
    free_bytes=5 * 10**10,
    region="EU",
    availability=0.95,
    trust=0.83,
    trust_level="trusted",
    expires="2026-11-22T23:30:00Z",
    servers=["wss://one.example"],
    reason="kept 12.9 GB for 90 days",
)
PLAN = choosing.ConnectPlan(
    peer_id=PEER,
    alias="",
    safety_words=WORDS,
    agreed=False,
    free_bytes=5 * 10**10,
    term_s=86400 * 365,
    lock_s=86400 * 30,
    trust=0.1,
    trust_level="unproven",
    risks=["nobody you know has stored anything here"],
)
CONNECTED = api.ConnectResult(peer_id=PEER, alias="alice", safety_words=WORDS, session="direct", quota_bytes=10**10)
OFFERED = api.HostResult(peer_id=PEER, storage_bytes=50 * 10**9, expires="", servers=["wss://one.example"])
PENDING = api.PendingRequest(
    request_id="r7f3a",
    direction="in",
    peer_id=PEER,
    alias="",
    safety_words=WORDS,
    storage_bytes=10**10,
    term_s=86400 * 365,
    lock_s=86400 * 30,
    state="waiting",
    since="2026-11-22T21:30:00Z",
    trust=0.1,
    trust_level="unproven",
)
BACKED_UP = saving.BackupResult(
    snapshot="3fa9c1d2" * 8, files=2, bytes=10, new_bytes=10, sent_bytes=12, seconds=0.5, errors=0, peers=[PEER]
)
RESTORED = restoring.RestoreResult(
    snapshot="3fa9c1d2" * 8,
    time="2026-11-22T21:30:00Z",
    paths=["/a"],
    files=2,
    bytes=10,
    seconds=0.5,
    errors=0,
    target="/t",
)


def event(name, data):
    return events.Event(event=name, data=msgspec.to_builtins(data))


ERROR_FILE = event("error-file", events.ErrorFile(path="/a\udcff\x1b[2J", message="permission denied"))
PROGRESS = event("progress", events.Progress(phase="backup", files=1, bytes=5, bytes_total=10, seconds=1.0))


def run(capsys, *words):
    """Return (exit code, stdout, stderr)."""
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def ask(capsys, verb, *words):
    """Run with --json; return (exit code, checked lines)."""
    code, out, _ = run(capsys, *verb.split(), "--json", *words)
    return code, check_output(verb, out)


STATES = [event("state", events.State(state=name)) for name in ("searching", "knocking", "waiting", "connected")]


def make_peer(**changes):
    """Return a row of `peers`."""
    row = api.PeerRow(
        peer_id=PEER,
        alias="alice",
        role="host",
        verified=True,
        quota_bytes=10**10,
        used_bytes=1,
        safety_words=WORDS,
        last_seen="",
        trust=0.5,
        trust_level="fair",
    )
    return msgspec.structs.replace(row, **changes)
