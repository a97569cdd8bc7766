import time

import msgspec

from backuppeer.cli.render import format_moment
from backuppeer.clock import format_time
from backuppeer.control.history import ContactRow, Record, Tenancy
from backuppeer.control.promises import Promised
from backuppeer.control.showing import Account, Lacking, PeerAccount, ReceiptsHeld
from backuppeer.limits import CONTACTS_SHOWN, CONTACTS_SHOWN_MOST
from cli.rows import make_peer, run
from control.dummy import PEER, given

THERE = Account(
    agreed_bytes=10**10,
    used_bytes=4 * 10**9,
    deleted_bytes=10**9,
    next_free_bytes=10**9,
    next_free="2026-12-22T12:00:00Z",
    lock_s=30 * 86400,
    notice_s=30 * 86400,
    until="2027-11-22T12:00:00Z",
    revision=3,
    ends="2027-01-22T12:00:00Z",
    ended_by_us=True,
)
HERE = msgspec.structs.replace(THERE, used_bytes=10**9, revision=1, ends="", next_free_bytes=0)
CONTACT = ContactRow(
    time="2026-11-28T12:00:00Z",
    made=True,
    ours=True,
    path="direct + lanes",
    rtt_ms=23.4,
    sent_bytes=3 * 10**9,
    received_bytes=10**6,
    seconds=185.2,
    result="it was not used any more",
)
MISSED = ContactRow(
    time="2026-11-27T06:30:00Z",
    made=False,
    ours=True,
    path="",
    rtt_ms=0,
    sent_bytes=0,
    received_bytes=0,
    seconds=0,
    result="PeerUnreachable: no answer\x1b[31m",
)
RECORD = Record(
    first_met="2026-03-01T12:00:00Z",
    days=41,
    availability=0.9625,
    promised=0.9,
    rtt_ms=23.4,
    bytes_per_second=12 * 10**6,
    audits=40,
    restores=2,
    losses=0,
    refusals=0,
    declined=1,
    lost_days=0,
    refused_days=0,
    reported_days=0,
    late_days=0,
    sessions=52,
    missed=1,
    contacts=[CONTACT, MISSED],
)
STRANGER = Record(
    first_met="",
    days=0,
    availability=None,
    promised=0,
    rtt_ms=0,
    bytes_per_second=0,
    audits=0,
    restores=0,
    losses=0,
    refusals=0,
    declined=0,
    lost_days=0,
    refused_days=0,
    reported_days=0,
    late_days=0,
    sessions=0,
    missed=0,
    contacts=[],
)
BOTH = PeerAccount(
    peer_id=PEER,
    alias="alice",
    verified=True,
    blocked=False,
    there=THERE,
    here=HERE,
    owed_bytes=-3 * 10**9,
    trust=0.62,
    trust_level="fair",
    capped=[],
    way_out="",
    record=RECORD,
    as_owner=Tenancy(agreed=1, overdrawn=2),
)


def test_the_account_names_both_sides_their_terms_and_who_keeps_more(capsys, agent):
    agent({"peers/show": given(BOTH)})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    for part in (
        "keeps for you: 4 GB of 10 GB, nothing more, as it ends",
        "changed 2 times",
        "you ended it: all is kept until 2027-01-22 at least",
        "you keep for it: 1 GB of 10 GB, 9 GB free now until 2027-11-22, lock 30 d, notice 30 d",
        "together: it keeps 3 GB more than the other",
    ):
        assert part in said
    code, out, _ = run(capsys, "peers", "show", "alice", "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=PeerAccount) == BOTH


def test_what_is_promised_is_shown_with_what_of_it_is_owed_and_what_to_do(capsys, agent):
    promises = Promised(reciprocity=0.5, audit_bytes=2 * 10**9, egress_bytes=3 * 10**9, availability=0.95)
    side = msgspec.structs.replace(HERE, promises=promises, promised_bytes=5 * 10**9, lacking_bytes=10**9)
    here = msgspec.structs.replace(side, sent_bytes=10**8)
    agent({"peers/show": given(msgspec.structs.replace(BOTH, there=side, here=here))})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    for part in (
        "in return you keep 5 GB for it it reads up to 2 GB a day for audits it sends back 3 GB a day at least",
        "you owe it 1 GB of what you promised in return: offer it with `backup-peer host --storage 1GB",
        "in return it keeps 5 GB for you you read up to 2 GB a day for audits you send back 3 GB a day at least",
        "it promises to be there 95 % of the time",
        "you promise to be there 95 % of the time",
        "sent back today: 100 MB",
        "it owes you 1 GB of what it promised: ask it with `backup-peer peers resize alice 11GB",
    ):
        assert part in said
    alone = msgspec.structs.replace(BOTH, there=None, here=msgspec.structs.replace(here, revision=2))
    agent({"peers/show": given(alone)})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    assert "ask it with `backup-peer connect alice --storage 1GB" in said
    assert ", changed once" in said
    here = msgspec.structs.replace(here, refused_from="2026-12-06T12:00:00Z")
    agent({"peers/show": given(msgspec.structs.replace(BOTH, here=here))})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    assert "asked for in vain: nothing new is taken from 2026-12-06 on" in said


def test_what_is_not_agreed_is_said_so_and_nothing_is_compared(capsys, agent):
    agent({"peers/show": given(msgspec.structs.replace(BOTH, here=None))})
    out = run(capsys, "peers", "show", "alice")[1]
    assert "you keep for it: nothing is agreed" in out
    assert "together" not in out


def test_a_peer_that_is_host_and_owner_has_a_line_for_each_and_what_is_owed_is_said(capsys, agent):
    both = make_peer(
        alias="alice",
        role="both",
        used_bytes=10**9,
        quota_bytes=2 * 10**9,
        hosted_used_bytes=3 * 10**9,
        hosted_bytes=4 * 10**9,
    )
    owing = msgspec.structs.replace(both, owed_to_us_bytes=10**9, owed_by_us_bytes=2 * 10**9)
    agent({"peers": given([owing])})
    out = run(capsys, "peers")[1]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any("my host 1 GB 2 GB" in line for line in lines)
    assert any(line.startswith("I host 3 GB 4 GB") for line in lines)
    said = " ".join(out.split())
    assert "alice: owes you 1 GB in return; `backup-peer peers show alice" in said
    assert "alice: you owe it 2 GB in return" in said


def test_why_a_score_is_capped_and_what_ends_it_is_shown(capsys, agent):
    caught = msgspec.structs.replace(
        BOTH, trust=0.3, trust_level="new", capped=["it lost 37 %\x1b[31m"], way_out="ask it"
    )
    agent({"peers/show": given(caught)})
    _, out, err = run(capsys, "peers", "show", "alice")
    assert "trust     0.30 new" in out
    assert "capped: it lost 37 %" in out
    assert "ask it" in out + err
    assert "\x1b" not in out + err
    agent({"peers/show": given(BOTH)})
    assert "capped" not in run(capsys, "peers", "show", "alice")[1]


def test_what_is_on_record_is_told_in_figures_and_each_contact_has_its_line(capsys, agent):
    agent({"peers/show": given(BOTH)})
    out = run(capsys, "peers", "show", "alice", "--history", "2")[1]
    said = " ".join(out.split())
    for part in (
        "met on 2026-03-01, evidence of 41 days, 40 audits and 2 restores passed",
        "there 96.2 % of the time in 30 days (90 % promised), 23.4 ms away, 12 MB a second",
        "as owner it made agreements on 1 day, sent more than was agreed on 2 days",
        "contacts 52 sessions, 1 try in vain; the last 2, `--history N` shows N of them:",
        "2026-11-28 12:00",
        "it was not used any more",
        "in vain: no answer",
    ):
        assert part in said, said
    assert "failed" not in said
    assert "\x1b" not in out


def test_of_a_peer_met_within_the_month_no_month_is_claimed(capsys, agent):
    met = format_time(int(time.time() * 1000) - 86_400_000)
    agent({"peers/show": given(msgspec.structs.replace(BOTH, record=msgspec.structs.replace(RECORD, first_met=met)))})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    assert f"there 96.2 % of the time since {format_moment(met)[:10]} (90 % promised)" in said


def test_days_of_failing_are_named_and_of_a_stranger_it_is_said_that_nothing_is_known(capsys, agent):
    failed = msgspec.structs.replace(RECORD, lost_days=1, refused_days=2, reported_days=1, late_days=3)
    agent({"peers/show": given(msgspec.structs.replace(BOTH, record=failed, as_owner=Tenancy()))})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    assert (
        "failed: lost or wrong on 1 day, not given back on 2 days, lost, and said so on 1 day, late on 3 days" in said
    )
    assert "as owner nothing of note" in said
    agent({"peers/show": given(msgspec.structs.replace(BOTH, record=STRANGER, as_owner=None))})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    assert "never met, no evidence yet not looked at within 30 days" in said
    assert "contacts none yet" in said
    assert "as owner" not in said


def test_more_contacts_than_are_ever_printed_can_t_be_asked_for(capsys, agent):
    agent({"peers/show": given(BOTH)})
    assert run(capsys, "peers", "show", "alice", "--history", str(CONTACTS_SHOWN_MOST + 1))[0] == 2
    asked = []

    async def answer(request, emit):
        asked.append(request.history)
        return BOTH

    agent({"peers/show": answer})
    run(capsys, "peers", "show", "alice", "--history", str(CONTACTS_SHOWN_MOST))
    run(capsys, "peers", "show", "alice")
    assert asked == [CONTACTS_SHOWN_MOST, CONTACTS_SHOWN]


HELD = ReceiptsHeld(
    months=6,
    signed=4,
    newest=6,
    newest_ends="2026-11-20T12:00:00Z",
    newest_bytes=12 * 10**9,
    since="2026-08-22T12:00:00Z",
    theirs=6,
    is_told=True,
    is_private=False,
    next_over="2026-12-20T12:00:00Z",
    lacking=[
        Lacking(
            first=2,
            last=3,
            begins="2026-06-23T12:00:00Z",
            ends="2026-08-22T12:00:00Z",
            reason="it showed nothing\x1b[31m of yours",
            todo="one audit a month is enough",
        )
    ],
)


def show_with(capsys, agent, held, *, side="there"):
    account = msgspec.structs.replace(HERE, receipts=held)
    row = msgspec.structs.replace(BOTH, there=None, here=None)
    agent({"peers/show": given(msgspec.structs.replace(row, **{side: account}))})
    return " ".join(run(capsys, "peers", "show", "alice")[1].split())


def test_the_months_of_a_pair_are_counted_and_one_that_lacks_is_named_with_why_and_what_to_do(capsys, agent):
    said = show_with(capsys, agent, HELD)
    for part in (
        "6 months signed by both; the newest, of month 6 until 2026-11-20, says 12 GB kept since 2026-08",
        "it holds them, too; partners who know you both are told of them",
        "months 2 to 3 (2026-06-23 to 2026-08-22): it showed nothing\\u001b[31m of yours; one audit a month is enough",
    ):
        assert part in said, said


def test_receipts_that_are_kept_back_are_said_to_be_by_whom(capsys, agent):
    hidden = msgspec.structs.replace(HELD, is_told=False, is_private=True, theirs=4)
    assert "you tell nobody of them (`trust.share_receipts`)" in show_with(capsys, agent, hidden)
    said = show_with(capsys, agent, hidden, side="here")
    assert "it holds those up to month 4, of later ones is not known; its owner wants nobody told of them" in said


def test_before_the_first_month_is_over_the_day_is_said_when_it_is(capsys, agent):
    young = msgspec.structs.replace(HELD, months=0, signed=0, newest=0, lacking=[])
    assert "receipts: none yet, the first month is over on 2026-12-20" in show_with(capsys, agent, young)


def test_of_many_gaps_the_last_are_printed_and_the_rest_counted(capsys, agent):
    gaps = [msgspec.structs.replace(HELD.lacking[0], first=n, last=n) for n in range(1, 20, 2)]
    said = show_with(capsys, agent, msgspec.structs.replace(HELD, months=40, lacking=gaps))
    assert "month 9 (" in said
    assert "month 7 (" not in said
    assert "`--json` lists all 10 gaps" in said


def test_what_is_free_now_is_no_more_than_a_cap_or_a_bar_leaves(capsys, agent):
    for room, free in ((None, "9 GB"), (2 * 10**9, "2 GB"), (0, "0 B")):
        account = msgspec.structs.replace(HERE, room_bytes=room)
        agent({"peers/show": given(msgspec.structs.replace(BOTH, there=account, here=None))})
        said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
        assert f"keeps for you: 1 GB of 10 GB, {free} free now" in said
