"""Recovery inboxes at a server: what is kept and for how long, who writes and reads, what can be told from outside."""

import asyncio
import os
import stat
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.crypto.recovery import derive_inbox
from backuppeer.errors import DamagedStateError, LocalError, ProtocolViolation, Unavailable, UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import (
    Challenge,
    Deposit,
    LeaveNote,
    Noted,
    NoteIs,
    OpenNote,
    ProveNote,
    decode_request,
    encode,
    inbox_proof_blob,
)
from backuppeer.signaling.note import Note, open_note, seal_note, sign_deposit
from backuppeer.signaling.postbox import find_note, find_notes, leave_note
from backuppeer.signaling.server import desk
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.crowding import Crowd, Networks
from backuppeer.signaling.server.door import Door
from backuppeer.signaling.server.notes import FolderNotes, MemoryNotes
from backuppeer.signaling.servers import authority
from signaling.kit import HOUR_MS, NOW_MS, TurnedClock, dead_url, hanging, run, serving
from signaling.test_privacy import record_requests

SEALED = bytes(limits.NOTE_BYTES)
DAY_MS = 24 * HOUR_MS
KEPT_MS = limits.NOTE_KEPT_S * 1000


def inbox(number):
    return number.to_bytes(32, "big")


def note(letter):
    return letter.encode() * limits.NOTE_BYTES


@pytest.fixture(params=["memory", "folder"])
def make(request, tmp_path):
    made = []

    def build(most=100):
        found = MemoryNotes(most) if request.param == "memory" else FolderNotes(tmp_path / f"notes{len(made)}", most)
        made.append(found)
        return found

    yield build
    for found in made:
        found.close()


# --- one contract, two places
def test_only_a_later_note_replaces_another(make):
    async def story():
        notes = make()
        assert await notes.get(inbox(1), now_ms=NOW_MS) is None
        assert await notes.put(inbox(1), NOW_MS, note("a"), now_ms=NOW_MS)
        assert not await notes.put(inbox(1), NOW_MS, note("b"), now_ms=NOW_MS)
        assert not await notes.put(inbox(1), NOW_MS - 1, note("b"), now_ms=NOW_MS)
        assert await notes.get(inbox(1), now_ms=NOW_MS) == note("a")
        assert await notes.put(inbox(1), NOW_MS + 1, note("c"), now_ms=NOW_MS)
        assert await notes.get(inbox(1), now_ms=NOW_MS) == note("c")
        assert await notes.get(inbox(2), now_ms=NOW_MS) is None
        assert notes.count() == 1

    asyncio.run(story())


def test_a_number_is_a_time_of_now_so_what_is_gone_can_not_be_replayed(make):
    async def story():
        notes = make()
        skew_ms = limits.CLOCK_SKEW_S * 1000
        assert not await notes.put(inbox(1), NOW_MS + skew_ms + 1, note("a"), now_ms=NOW_MS)
        assert await notes.put(inbox(1), NOW_MS + skew_ms, note("a"), now_ms=NOW_MS)
        assert not await notes.put(inbox(2), NOW_MS - KEPT_MS, note("a"), now_ms=NOW_MS)
        assert await notes.put(inbox(2), NOW_MS - KEPT_MS + 1, note("a"), now_ms=NOW_MS)

    asyncio.run(story())


def test_a_note_is_kept_for_ninety_days(make):
    async def story():
        notes = make()
        assert limits.NOTE_KEPT_S == 90 * 86400
        for number in range(3):
            await notes.put(inbox(number), NOW_MS + number, note("a"), now_ms=NOW_MS)
        last_ms = NOW_MS + KEPT_MS
        assert await notes.get(inbox(0), now_ms=last_ms - 1) == note("a")
        assert await notes.get(inbox(0), now_ms=last_ms) is None
        assert notes.count() == 3
        await notes.sweep(now_ms=last_ms + 1)
        assert notes.count() == 1
        assert await notes.get(inbox(2), now_ms=last_ms + 1) == note("a")
        assert not await notes.put(inbox(0), NOW_MS, note("a"), now_ms=last_ms), "a replay does not bring it back"

    asyncio.run(story())


def test_when_all_places_are_taken_the_note_left_longest_ago_makes_room(make):
    async def story():
        notes = make(most=3)
        for number in range(3):
            await notes.put(inbox(number), NOW_MS + number, note("a"), now_ms=NOW_MS)
        await notes.put(inbox(0), NOW_MS + 9, note("b"), now_ms=NOW_MS)  # left again: no more the oldest
        await notes.put(inbox(7), NOW_MS, note("c"), now_ms=NOW_MS)
        kept = [n for n in (0, 1, 2, 7) if await notes.get(inbox(n), now_ms=NOW_MS)]
        assert kept == [0, 2, 7]
        assert notes.count() == 3

    asyncio.run(story())


def kept_of(notes, numbers):
    async def ask():
        return [n for n in numbers if await notes.get(inbox(n), now_ms=NOW_MS)]

    return asyncio.run(ask())


def leave(notes, *left):
    async def story():
        for number, network in left:
            assert await notes.put(inbox(number), NOW_MS, note("a"), now_ms=NOW_MS, network=network)

    asyncio.run(story())


def test_one_network_that_floods_pushes_out_its_own_notes_only(make):
    notes = make(most=6)
    leave(notes, (1, b"alice"), (2, b"bob"), (3, b""), *((n, b"flood") for n in range(100, 200)))
    assert kept_of(notes, range(200)) == [1, 2, 3, 197, 198, 199]
    assert notes.count() == 6


def test_a_note_belongs_to_the_network_that_left_it_last_and_where_none_crowds_the_oldest_goes(make):
    notes = make(most=4)
    leave(notes, (1, b"alice"), (2, b"alice"), (3, b"bob"))
    asyncio.run(notes.put(inbox(1), NOW_MS + 1, note("b"), now_ms=NOW_MS, network=b"carol"))
    leave(notes, (4, b"dave"), (5, b"eve"))
    assert kept_of(notes, range(9)) == [1, 3, 4, 5], "nobody has two: that of the oldest"


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([b"", b"a", b"b", b"c", b"d"])), max_size=60))
def test_who_leaves_no_more_than_a_fair_part_is_never_pushed_out_by_a_network_that_leaves_more(told):
    crowd, owners = Crowd(), {}
    for number, network in told:
        if network:
            crowd.add(inbox(number), network)
            owners[inbox(number)] = network
        else:
            crowd.drop(inbox(number))
            owners.pop(inbox(number), None)
    sizes = Counter(owners.values())
    chosen = crowd.choose()
    if not sizes or max(sizes.values()) == 1:
        assert chosen is None
    else:
        assert sizes[owners[chosen]] == max(sizes.values())


def test_networks_have_names_that_another_process_does_not_know_and_that_say_no_address():
    ours, theirs = Networks(), Networks()
    same = [
        ("192.0.2.1", "192.0.2.77"),
        ("2001:db8:1:2::/64", "2001:db8:1:ffff::/64"),
        ("::ffff:192.0.2.9", "192.0.2.1"),
    ]
    for one, other in same:
        assert ours.name(one) == ours.name(other) != theirs.name(one)
    assert len({ours.name(a) for a in ("192.0.2.1", "192.0.3.1", "2001:db8:1::/64", "2001:db8:2::/64", "no ip")}) == 5


# --- the folder
def test_a_folder_of_notes_outlives_the_process_and_is_for_its_owner_alone(tmp_path):
    async def story():
        folder = tmp_path / "made" / "anew"
        with closing(FolderNotes(folder, 10)) as notes:
            await notes.put(inbox(1), NOW_MS, note("a"), now_ms=NOW_MS)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "notes.db").stat().st_mode) == 0o600
        with closing(FolderNotes(folder, 10)) as notes:
            assert notes.count() == 1
            assert await notes.get(inbox(1), now_ms=NOW_MS) == note("a")
            assert not await notes.put(inbox(1), NOW_MS - 5, note("b"), now_ms=NOW_MS)

    asyncio.run(story())


def test_a_folder_that_can_not_be_one_is_told_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="can't keep notes"):
        FolderNotes(tmp_path / "file", 10)
    assert (tmp_path / "file").read_text() == "mine"
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "notes.db").write_bytes(b"no database at all, but something of somebody's" * 100)
    with pytest.raises(DamagedStateError):
        FolderNotes(folder, 10)
    assert (folder / "notes.db").read_bytes().startswith(b"no database")


# --- over the network
KEY = SigningKey.from_seed(b"k" * 32)


def test_who_has_the_key_of_an_inbox_leaves_and_finds_a_note_there():
    async def story():
        async with serving() as server:
            await leave_note(server.url, KEY, NOW_MS, note("a"))
            assert await find_note(server.url, KEY) == note("a")
            await leave_note(server.url, KEY, NOW_MS + 1, note("b"))
            assert await find_note(server.url, KEY) == note("b")
            await leave_note(server.url, KEY, NOW_MS, note("a"))  # answered all the same
            assert await find_note(server.url, KEY) == note("b")

    run(story())


def test_notes_are_there_after_a_restart_of_a_server_with_a_folder(tmp_path):
    async def story():
        with closing(FolderNotes(tmp_path / "data", 10)) as notes:
            async with serving(notes=notes) as server:
                await leave_note(server.url, KEY, NOW_MS, note("a"))
                port = server.port
        with closing(FolderNotes(tmp_path / "data", 10)) as notes:
            async with serving(notes=notes, port=port) as server:
                assert await find_note(server.url, KEY) == note("a")

    run(story())


async def say_all(server, *requests):
    async with open_link(server.url) as link:
        for request in requests:
            await link.send(request)
        while True:
            await link.receive(Noted | NoteIs | Challenge)


async def ends_with(server, code, *requests):
    with pytest.raises(Unavailable, match=str(code)):
        await say_all(server, *requests)


def test_nobody_else_leaves_a_note_and_a_try_tells_nothing_of_what_is_there():
    async def story():
        async with serving() as server:
            await leave_note(server.url, KEY, NOW_MS, note("a"))
            for target in (KEY.public, SigningKey.generate().public):  # known and unknown
                forged = sign_deposit(SigningKey.generate(), NOW_MS + 5, note("x"))
                await ends_with(server, 4401, LeaveNote(target, forged.number, forged.sealed, forged.signature))
            mine = sign_deposit(KEY, NOW_MS + 5, note("x"))
            await ends_with(server, 4401, LeaveNote(KEY.public, mine.number + 1, mine.sealed, mine.signature))
            await ends_with(server, 4401, LeaveNote(KEY.public, mine.number, note("y"), mine.signature))
            as_inbox = KEY.sign(Purpose.INBOX, b"")
            await ends_with(server, 4401, LeaveNote(KEY.public, mine.number, mine.sealed, as_inbox))
            assert await find_note(server.url, KEY) == note("a")

    run(story())


def test_the_answer_to_a_note_is_the_same_bytes_whatever_became_of_it():
    async def story():
        async with serving(Caps(memory_notes=1)) as server:
            answers = []
            for key, number in ((KEY, NOW_MS), (KEY, NOW_MS), (KEY, NOW_MS + 10**9), (SigningKey.generate(), NOW_MS)):
                async with open_link(server.url) as link:
                    await link.send(LeaveNote(*sign_deposit(key, number, SEALED)))
                    answers.append(await link._connection.recv())
            assert set(answers) == {encode(Noted())}

    run(story())


def test_without_the_key_nobody_reads_and_with_it_an_empty_inbox_looks_as_a_full_one():
    async def story():
        async with serving() as server:
            await leave_note(server.url, KEY, NOW_MS, note("a"))
            empty = SigningKey.generate()
            found = await find_note(server.url, empty)
            assert len(found) == limits.NOTE_BYTES
            assert found != await find_note(server.url, empty), "random bytes, new ones each time"
            for target in (KEY, empty):
                await ends_with(server, 4401, OpenNote(target.public), ProveNote(bytes(64)))
                wrong = SigningKey.generate().sign(Purpose.RECOVERY_INBOX, b"")
                await ends_with(server, 4401, OpenNote(target.public), ProveNote(wrong))

    run(story())


def test_a_proof_counts_for_one_challenge_at_one_server_and_for_notes_alone():
    async def story():
        async with serving() as server:
            async with open_link(server.url) as link:
                challenge = await link.ask(OpenNote(KEY.public), Challenge)
            blob = inbox_proof_blob(challenge.nonce, authority(server.url), KEY.public)
            late = KEY.sign(Purpose.RECOVERY_INBOX, blob)
            await ends_with(server, 4401, OpenNote(KEY.public), ProveNote(late))
            for purpose, origin in ((Purpose.INBOX, authority(server.url)), (Purpose.RECOVERY_INBOX, "other:1")):
                with pytest.raises(Unavailable, match="4401"):
                    await prove(server, purpose, origin)

    run(story())


async def prove(server, purpose, origin):
    async with open_link(server.url) as link:
        challenge = await link.ask(OpenNote(KEY.public), Challenge)
        proof = inbox_proof_blob(challenge.nonce, origin, KEY.public)
        await link.ask(ProveNote(KEY.sign(purpose, proof)), NoteIs)


def test_a_socket_is_for_one_recovery_inbox_and_for_nothing_else():
    async def story():
        async with serving() as server:
            left = LeaveNote(*sign_deposit(KEY, NOW_MS, SEALED))
            for following in (left, OpenNote(KEY.public), Deposit(KEY.public, bytes(limits.KNOCK_BYTES))):
                await ends_with(server, 4400, left, following)
            await ends_with(server, 4400, ProveNote(bytes(64)))
            await ends_with(server, 4400, OpenNote(KEY.public), OpenNote(KEY.public))

    run(story())


def test_one_network_leaves_so_many_notes_at_once_and_so_many_an_hour():
    async def story():
        clock = TurnedClock()
        async with serving(Caps(notes_burst=3, notes_per_hour=2), clock=clock) as server:
            for number in range(3):
                await leave_note(server.url, KEY, NOW_MS + number, SEALED)
            with pytest.raises(Unavailable, match="too many notes"):
                await leave_note(server.url, KEY, NOW_MS + 7, SEALED)
            assert len(await find_note(server.url, KEY)) == limits.NOTE_BYTES, "reading is no writing"
            clock.turn(1800)
            await leave_note(server.url, KEY, NOW_MS + 9, SEALED)
            with pytest.raises(Unavailable, match="too many notes"):
                await leave_note(server.url, KEY, NOW_MS + 10, SEALED)

    run(story())


def test_rates_of_addresses_beyond_the_cap_begin_anew(monkeypatch):
    async def story():
        async with serving(Caps(notes_burst=1)) as server:
            await leave_note(server.url, KEY, NOW_MS, SEALED)
            with pytest.raises(Unavailable):
                await leave_note(server.url, KEY, NOW_MS + 1, SEALED)
            return server

    run(story())
    monkeypatch.setattr(limits, "SERVER_NOTE_ADDRESSES", 2)
    door = Door(Caps(notes_burst=1), clock=TurnedClock(), origins=(), listen_host=None)
    said = [door.name_noter(address) is not None for address in ("a", "b", "a", "c", "b", "a")]
    assert said == [True, True, False, True, True, True]


def test_many_inboxes_are_looked_into_and_those_of_a_server_that_is_away_are_not():
    async def story():
        keys = [SigningKey.generate() for _ in range(40)]
        async with serving() as server:
            for number, key in enumerate(keys[:3]):
                await leave_note(server.url, key, NOW_MS, note("abc"[number]))
            found = await find_notes(server.url, keys)
            assert found.keys() == {key.public for key in keys}
            assert [found[key.public] for key in keys[:3]] == [note("a"), note("b"), note("c")]
            assert await find_notes(server.url, []) == {}
        with pytest.raises(Unavailable):
            await find_notes(dead_url(), keys)
        async with hanging() as url:
            with pytest.raises(Unavailable):
                async with asyncio.timeout(15):
                    await find_notes(url, keys)

    run(story())


def test_a_disk_that_refuses_is_told_to_who_leaves_a_note_and_costs_nothing_else():
    async def story():
        notes = MemoryNotes(10)

        async def refuse(*_args, **_named):
            raise LocalError("no space left")

        notes.put = notes.get = refuse
        async with serving(notes=notes) as server:
            with pytest.raises(Unavailable, match="4503"):
                await leave_note(server.url, KEY, NOW_MS, SEALED)
            with pytest.raises(Unavailable, match="4503"):
                await find_note(server.url, KEY)

    run(story())


# --- what the server sees
def test_a_server_sees_neither_who_leaves_a_note_nor_for_whom_nor_which_inboxes_belong_together(monkeypatch):
    async def story():
        seen = record_requests(monkeypatch)
        host, slot, seed = SigningKey.generate(), EnvelopeKey.generate(), os.urandom(32)
        said = Note(
            host=host.public,
            agreement=b"agreement of " + host.public,
            binding=b"192.0.2.44:4433",
            servers=["wss://other.example"],
            time_ms=NOW_MS,
        )
        async with serving() as one, serving() as two:
            inboxes = {}
            for server in (one, two):
                for quarter in (1, 2):
                    key = derive_inbox(seed, authority(server.url), quarter)
                    sealed = seal_note(said, host, key=slot.public, inbox=key.public)
                    await leave_note(server.url, key, NOW_MS, sealed)
                    inboxes[key.public] = await find_note(server.url, key)
        assert [open_note(sealed, slot, inbox=name) for name, sealed in inboxes.items()] == [said] * 4
        everything = b"".join(data for _, data in seen)
        secrets = (host.public, b"agreement of", b"192.0.2.44", b"other.example", seed, slot.public[:64], b"4433")
        assert [secret for secret in secrets if secret in everything] == []
        left = [request for request, _ in seen if isinstance(request, LeaveNote)]
        assert {len(encode(request)) for request in left} == {len(encode(left[0]))}
        parts = [{request.inbox, request.signature, request.sealed[:32], request.sealed[-32:]} for request in left]
        assert len(set.union(*parts)) == sum(map(len, parts)) == 16, "nothing of one deposit comes again in another"

    run(story())


def test_a_server_of_before_is_told_as_one_that_keeps_no_notes(monkeypatch):
    """It knows none of these messages, and closes as on any that it does not know."""

    def decode_as_before(data):
        if b"-note" in data[:20]:
            raise ProtocolViolation("signaling message can't be read")
        return decode_request(data)

    async def story():
        monkeypatch.setattr(desk, "decode_request", decode_as_before)
        async with serving() as server:
            for work in (leave_note(server.url, KEY, NOW_MS, SEALED), find_note(server.url, KEY)):
                with pytest.raises(Unavailable, match="keeps no notes"):
                    await work

    run(story())
