"""Which notes count, and where they are looked for."""

from dataclasses import replace

import msgspec
import pytest

from agent.owner.test_heads import INDEX, chain_of, inventory
from backuppeer.agent.recovery.inboxes import FoundNote, Inboxes, check_note, open_inboxes, quarters_to_open
from backuppeer.agent.recovery.witnessing import describe_rows, is_proven, make_rows
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority, derive_identity, derive_working
from backuppeer.crypto.recovery import QUARTER_S, derive_inbox, derive_slot, quarter_of
from backuppeer.errors import PeerFault
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLOCK_SKEW_S, NOTE_KEPT_S
from backuppeer.proof.revisions import succeed
from backuppeer.proof.statements import (
    Agreement,
    HeadReceipt,
    TransportBinding,
    add_signature,
    sign_statement,
    statement_hash,
)
from backuppeer.proof.succession import Succession
from backuppeer.signaling.note import Note, seal_note
from backuppeer.signaling.postbox import leave_note
from backuppeer.signaling.servers import authority
from backuppeer.wire.messages import HeadIs
from signaling.kit import TurnedClock, dead_url, run, serving

STRANGER = SigningKey.from_seed(b"x" * 32)


def receipt_for(signed_head, agreement, key, number=1):
    said = HeadReceipt(agreement=agreement, head_hash=statement_hash(signed_head), number=number, time_ms=5)
    return sign_statement(said, key)


def write(owner, house, *, number=1, servers=(), time_ms=None):
    """Return what a host that agreed with the owner and holds its first head would write, and the agreement's id."""
    agreement = owner.agree_with(house, number=number)
    chain = chain_of(owner)
    if owner.state.last_head(owner.keys.repository) is None:
        chain.extend(INDEX, inventory())
    _, head, grant = owner.state.last_head(owner.keys.repository)
    where = TransportBinding(peer=house.peer, transport=b"t" * 32, addresses=["192.0.2.7:4433"], time_ms=7)
    note = Note(
        host=house.peer,
        agreement=house.premises.open().leases.get(agreement).signed,
        head=head,
        grant=grant,
        receipt=receipt_for(head, agreement, house.identity),
        binding=sign_statement(where, house.identity),
        servers=list(servers),
        time_ms=owner.clock.ms if time_ms is None else time_ms,
    )
    return note, agreement


async def leave(owner, house, note, server, *, slot=0, quarter=None, url=None):
    made = derive_slot(owner.keys.working, slot)
    now_ms = server.clock.ms
    inbox = derive_inbox(made.seed, authority(url or server.url), quarter_of(now_ms) if quarter is None else quarter)
    sealed = seal_note(note, house.identity, key=made.opener.public, inbox=inbox.public)
    await leave_note(server.url, inbox, now_ms, sealed)


# --- what counts
def test_a_note_counts_with_all_that_it_should_hold(house, owner):
    note, agreement = write(owner, house)
    found = check_note(owner.keys, 3, note)
    assert (found.slot, found.host, found.agreement, found.revision) == (3, house.peer, agreement, 1)
    assert (found.head.number, found.where.transport, found.where.addresses) == (1, b"t" * 32, ("192.0.2.7:4433",))


def broken(note, owner, house, agreement):
    """Each way in which a host, or whoever has its slot, may lie."""
    stranger = house.identity.from_seed(b"x" * 32)
    where = TransportBinding(peer=stranger.public, transport=b"t" * 32, addresses=[], time_ms=7)
    change = msgspec.structs.replace
    return {
        "an agreement that the owner alone signed": change(note, agreement=owner.propose(house.peer, number=9)),
        "another host's agreement": change(note, host=stranger.public),
        "another's address": change(note, binding=sign_statement(where, stranger)),
        "a head that nobody wrote": change(note, head=note.head[:-1] + bytes([note.head[-1] ^ 1])),
        "a grant of a stranger": change(note, grant=note.grant[:-1] + bytes([note.grant[-1] ^ 1])),
        "a receipt of a stranger": change(note, receipt=receipt_for(note.head, agreement, stranger)),
        "a receipt for another head": change(note, receipt=receipt_for(note.grant, agreement, house.identity)),
        "a receipt of another agreement": change(
            note, receipt=receipt_for(note.head, AgreementId(b"z" * 16), house.identity)
        ),
        "a receipt with another number": change(note, receipt=receipt_for(note.head, agreement, house.identity, 9)),
    }


def test_a_note_that_lacks_one_signature_or_names_another_thing_does_not_count(house, owner):
    note, agreement = write(owner, house)
    assert counts(owner.keys, note)
    lies = broken(note, owner, house, agreement)
    assert [how for how, lie in lies.items() if counts(owner.keys, lie)] == []


def counts(keys, note):
    try:
        check_note(keys, 0, note)
    except PeerFault:
        return False
    return True


def test_a_note_for_somebody_else_or_under_another_authority_does_not_count(house, owner):
    note, _ = write(owner, house)
    for keys in (replace(owner.keys, identity=STRANGER), replace(owner.keys, authority=STRANGER.public)):
        with pytest.raises(PeerFault):
            check_note(keys, 0, note)


def test_a_head_of_another_repository_does_not_count(house, owner):
    note, _ = write(owner, house)
    other = owner.propose(house.peer, number=7, repository=b"q" * 16)
    both = add_signature(other, Agreement, house.identity)
    with pytest.raises(PeerFault):
        check_note(owner.keys, 0, msgspec.structs.replace(note, agreement=both))


def test_a_head_of_a_newer_version_hides_no_host(house, owner, monkeypatch):
    note, _ = write(owner, house)
    monkeypatch.setattr("backuppeer.agent.recovery.inboxes.is_newer", lambda signed: signed == note.head)
    assert check_note(owner.keys, 0, note).head is None


# --- where they are looked for
def test_notes_are_found_at_all_servers_and_the_latest_of_each_agreement_counts(house, other, owner):
    async def story():
        clock = TurnedClock(owner.clock.ms)
        async with serving(clock=clock) as one, serving(clock=clock) as two:
            note, first = write(owner, house)
            older = msgspec.structs.replace(note, time_ms=note.time_ms - 5)
            await leave(owner, house, note, one, slot=3)
            await leave(owner, house, older, two, slot=3)
            far, second = write(owner, other, number=2)
            await leave(owner, other, far, two, slot=63, quarter=quarter_of(clock.ms) - 1)
            found = await open_inboxes(owner.keys, [one.url, two.url, dead_url()], clock.ms)
            assert {agreement: note.slot for agreement, note in found.notes.items()} == {first: 3, second: 63}
            assert found.notes[first].time_ms == note.time_ms
            assert list(found.failed) == [dead_url()]
            alone = await open_inboxes(owner.keys, [one.url], clock.ms)
            assert list(alone.notes) == [first]

    run(story())


@pytest.mark.parametrize("ahead_ms", [CLOCK_SKEW_S * 1000 + 1, 2**60])
def test_a_note_of_the_future_does_not_count_and_hides_none_of_now(house, owner, ahead_ms):
    async def story():
        clock = TurnedClock(owner.clock.ms)
        async with serving(clock=clock) as one, serving(clock=clock) as two:
            note, agreement = write(owner, house)
            await leave(owner, house, note, one)
            await leave(owner, house, msgspec.structs.replace(note, time_ms=clock.ms + ahead_ms), two)
            found = await open_inboxes(owner.keys, [one.url, two.url], clock.ms)
            assert found.notes[agreement].time_ms == note.time_ms
            alone = await open_inboxes(owner.keys, [two.url], clock.ms)
            assert alone.notes == {}

    run(story())


@pytest.mark.parametrize("by", ["our words", "other words"])
def test_word_that_leads_on_counts_before_all_notes_if_our_words_signed_it(house, owner, by):
    async def story():
        clock = TurnedClock(owner.clock.ms)
        async with serving(clock=clock) as server:
            note, _ = write(owner, house)
            authority_key = derive_authority(b"o" * 32 if by == "our words" else bytes(32))
            new = derive_identity(derive_working(b"o" * 32, 2))
            said = Succession(
                authority=authority_key.public, old=owner.peer, new=PeerId(new.public), generation=2, time_ms=5
            )  # fmt: skip
            signed = sign_statement(said, authority_key, new)
            step = add_signature(sign_statement(succeed(note.agreement, signed), new), Agreement, house.identity)
            await leave(owner, house, msgspec.structs.replace(note, agreement=step), server)
            found = await open_inboxes(owner.keys, [server.url], clock.ms)
            assert (found.succession, found.notes) == (signed if by == "our words" else b"", {})

    run(story())


def test_a_note_a_little_ahead_of_this_clock_counts(house, owner):
    async def story():
        clock = TurnedClock(owner.clock.ms)
        async with serving(clock=clock) as server:
            note, agreement = write(owner, house, time_ms=clock.ms + CLOCK_SKEW_S * 1000)
            await leave(owner, house, note, server)
            assert list((await open_inboxes(owner.keys, [server.url], clock.ms)).notes) == [agreement]

    run(story())


def test_a_server_that_answers_with_other_peoples_notes_or_rubbish_changes_nothing(house, owner, monkeypatch):
    async def story():
        clock = TurnedClock(owner.clock.ms)
        async with serving(clock=clock) as server:
            note, _ = write(owner, house)
            await leave(owner, house, note, server)
            kept = next(iter(server.notes._notes.values()))[1]

            async def same(_inbox, *, now_ms):
                return kept

            monkeypatch.setattr(server.notes, "get", same)
            found = await open_inboxes(owner.keys, [server.url], clock.ms)
            assert [n.slot for n in found.notes.values()] == [0], "sealed for its own inbox alone"

    run(story())


def test_servers_that_a_note_names_are_asked_too_if_they_are_public(house, owner, monkeypatch):
    asked = []

    async def nothing(_keys, _slots, url, _now_ms, found):
        asked.append(url)
        if len(asked) == 1:
            found.add(check_note(owner.keys, 0, note))

    note, _ = write(owner, house, servers=["wss://named.example", "ws://10.0.0.5:1", "wss://localhost"])
    monkeypatch.setattr("backuppeer.agent.recovery.inboxes._look", nothing)

    async def story():
        found = await open_inboxes(owner.keys, ["wss://given.example"], 0)
        assert found.asked == asked == ["wss://given.example", "wss://named.example"]

    run(story())


def test_a_note_that_is_still_kept_is_looked_for_in_its_quarter_whoever_is_a_bit_late():
    for now_ms in (QUARTER_S * 1000 * 7, QUARTER_S * 1000 * 7 + 1, QUARTER_S * 1000 * 8 - 1):
        for age_s in (0, NOTE_KEPT_S, -CLOCK_SKEW_S, NOTE_KEPT_S + CLOCK_SKEW_S):
            assert quarter_of(now_ms - age_s * 1000) in quarters_to_open(now_ms)
        assert len(quarters_to_open(now_ms)) <= 3


# --- what hosts bear witness of
ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
ONE, TWO = AgreementId(b"1" * 16), AgreementId(b"2" * 16)


def noted(house, owner, agreement=TWO):
    note, _ = write(owner, house)
    return replace(check_note(owner.keys, 0, note), agreement=agreement)


def test_hosts_are_witnesses_by_what_they_show_and_absent_ones_by_their_notes(house, owner):
    found: FoundNote = noted(house, owner)
    shown = HeadIs(head=found.signed_head, grant=found.grant)
    rows = make_rows([(ONE, ALICE), (TWO, BOB)], {ONE: shown}, {TWO: found}, lambda _: "")
    assert [(row.heard, row.head, bool(row.time)) for row in rows] == [(True, 1, False), (False, 1, True)]
    assert is_proven(rows)
    (said,) = describe_rows(rows, lambda _: "bob", lambda _: "")
    assert said.startswith("bob was not heard; its note of 20")
    assert said.endswith("names head 1")


def test_a_single_witness_proves_nothing_and_it_is_said(house, owner):
    shown = HeadIs(head=noted(house, owner).signed_head)
    rows = make_rows([(ONE, ALICE), (TWO, BOB)], {ONE: shown}, {}, lambda _: "")
    assert not is_proven(rows)
    silent, unproven = describe_rows(rows, lambda _: "bob", lambda _: "no answer")
    assert silent == "bob was not heard (no answer)"
    assert unproven.startswith("not provable as newest")
    empty = make_rows([(ONE, ALICE), (TWO, BOB)], {ONE: shown, TWO: HeadIs()}, {}, lambda _: "")
    assert not is_proven(empty), "a host without a head has seen nothing"
    twice = make_rows([(ONE, ALICE), (TWO, ALICE)], {ONE: shown, TWO: shown}, {}, lambda _: "")
    assert not is_proven(twice), "two agreements of one host are one witness"


def test_of_two_notes_of_one_agreement_the_later_counts(house, owner):
    found, inboxes = noted(house, owner), Inboxes()
    inboxes.add(found)
    inboxes.add(replace(found, time_ms=found.time_ms - 1, slot=9))
    assert inboxes.notes[TWO].slot == 0
    inboxes.add(replace(found, time_ms=found.time_ms + 1, slot=9))
    assert inboxes.notes[TWO].slot == 9
