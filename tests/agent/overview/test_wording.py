"""The report of a week in words: what it says, and that nothing of peers paints in it."""

from backuppeer.agent.overview.wording import write_letter, write_parts
from backuppeer.control.reporting import Attention, Report, ReportedHost, ReportedSet

HOST = ReportedHost(
    peer_id="bp1x",
    name="alice",
    trust=0.83,
    trust_level="trusted",
    agreed_bytes=50 * 10**9,
    used_bytes=12 * 10**9,
    proven="2026-11-28T01:00:00Z",
)


def report(**changes):
    fields = {"sets": [], "hosts": [], "owners": 0, "hosted_agreed_bytes": 0, "hosted_used_bytes": 0, "attention": []}
    fields |= {"home_free_bytes": 10**11, "store_free_bytes": None, **changes}
    return Report(machine="attic", since="2026-11-22T10:00:00Z", until="2026-11-29T10:00:00Z", **fields)


def test_a_quiet_home_says_that_nothing_needs_attention():
    assert write_letter(report()).body == (
        "Needs attention:\n  nothing\n\nFree space:\n  100 GB where the home lies\n\n"
        "`backup-peer report` on that machine shows it as of now."
    )


def test_it_says_what_was_backed_up_proven_kept_and_what_to_do():
    letter = write_letter(
        report(
            sets=[
                ReportedSet(set="photos", made=7, last="2026-11-29T03:00:00Z", bytes=123 * 10**8),
                ReportedSet(set="new", made=0),
                ReportedSet(set="", made=0, last="2026-10-01T03:00:00Z", bytes=5),
            ],
            hosts=[HOST],
            owners=1,
            hosted_agreed_bytes=10**12,
            hosted_used_bytes=10**11,
            store_free_bytes=10**10,
            attention=[Attention(text="bob was caught", fix="`backup-peer repair`")],
        )
    )
    assert letter.title == "Backup Peer on attic: the week to 2026-11-29"
    assert letter.body.splitlines()[:-2] == [
        "Needs attention:",
        "  bob was caught",
        "  → `backup-peer repair`",
        "",
        "Backed up:",
        "  photos: 7 snapshots this week, the newest of 2026-11-29 has 12.3 GB",
        "  new: never yet",
        "  paths in no set: nothing this week, the newest of 2026-10-01 has 5 B",
        "",
        "Hosts:",
        "  alice: trust 0.83 (trusted), 12 GB of 50 GB used, last proof 2026-11-28",
        "",
        "Kept for others:",
        "  1 owner, 100 GB of 1 TB used",
        "",
        "Free space:",
        "  100 GB where the home lies",
        "  10 GB where what is kept for others lies",
    ]


def test_names_and_reasons_are_cleaned():
    painted = report(hosts=[HOST], attention=[Attention(text="a\x1b[31m\nb @all", fix="https://x")])
    lines = [line for part in write_parts(painted) for line in part.lines]
    assert lines[0] == "a [31m b (at)all"
    assert lines[1] == "→ https: //x"
