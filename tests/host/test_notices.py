"""Agreements end by notice: never before notice and lock are over, by time the agent saw pass, and then wholly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, NotFoundError, PeerFault, ProtocolViolation, RefusedError
from backuppeer.host.notice_file import NoticeFile, join_notice, split_notice
from backuppeer.host.store import Store
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.statements import sign_beside
from host.host_world import NOW_MS, Kept, World, agreement_id, put_pack

A = agreement_id()
LOCK_S = 100
NOTICE_S = 10
OWNERS_S = 2 * LOCK_S
"""An owner's end is a deletion of everything: held twice as long."""


class Hall(Kept):
    """A store with one agreement, and the words of both parties."""

    def __init__(self, store: Store, world: World) -> None:
        super().__init__(store, world, lock_s=LOCK_S)

    def sign(self, key: SigningKey, last: int = 0) -> bytes:
        return sign_notice(A, key, last=last, time_ms=NOW_MS)

    def give(self, key: SigningKey, last: int = 0, device_sig: bytes = b"") -> int:
        return self.store.notices.give(A, self.sign(key, last), device_sig)

    def pass_time(self, seconds: int) -> list[bytes]:
        """Let time pass, and do what the agent does at each look; return which agreements ended."""
        self.store.sweep.add_age(seconds)
        return self.look()


@pytest.fixture
def hall(store: Store, world: World):
    made = Hall(store, world)
    yield made
    made.store.close()


def test_an_owners_end_keeps_everything_for_two_locks_and_then_erases_it_to_the_last_file(hall):
    stored = put_pack(hall.store, b"x" * 5000)
    assert hall.give(hall.world.owner) == OWNERS_S
    assert hall.pass_time(OWNERS_S - 1) == []
    assert hall.store.read(A, stored, offset=0, length=3) == b"xxx", "read to the last second"
    assert hall.store.notices.left_s(A) == 1
    assert hall.pass_time(1) == [A]
    assert hall.files() == []
    assert hall.store.leases.find(A) is None
    assert hall.store.totals().agreed_bytes == hall.store.totals().used_bytes == 0
    with pytest.raises(NotFoundError):
        hall.store.receive(A, stored, 5000)
    hall.reopen()
    assert hall.store.leases.list_all() == []
    assert hall.store.notes == []
    assert (hall.store.directory / "agreements" / A.hex() / "notice.owner").exists(), "kept to answer a charge with"
    with pytest.raises(RefusedError, match="has ended"):
        hall.store.leases.put(hall.world.agree(lock_s=LOCK_S))


def test_a_hosts_end_counts_twice_until_its_owner_was_told_and_then_as_usual(hall):
    assert hall.give(hall.world.host) == 2 * LOCK_S
    hall.pass_time(50)
    hall.store.notices.note_told(A)
    assert hall.store.notices.left_s(A) == LOCK_S
    hall.pass_time(60)
    hall.store.notices.note_told(A)
    assert hall.store.notices.left_s(A) == LOCK_S - 60, "told again it begins no time anew"
    hall.reopen()
    assert hall.store.notices.left_s(A) == LOCK_S - 60
    assert hall.pass_time(LOCK_S - 60) == [A]


def test_told_late_its_owner_has_the_usual_time_from_then_on_once(hall):
    hall.give(hall.world.host)
    hall.pass_time(2 * LOCK_S - 5)
    for _ in range(2):
        hall.store.notices.note_told(A)
        assert hall.store.notices.left_s(A) == LOCK_S, "what its owner believes, who can't know since when it stands"
    hall.pass_time(5)
    hall.store.notices.note_told(A)
    assert hall.store.notices.left_s(A) == LOCK_S - 5, "told again it begins no time anew"


@pytest.mark.parametrize("without_catalogue", [False, True])
def test_a_notice_outlives_the_store_and_its_catalogue_and_its_time_only_becomes_longer(hall, without_catalogue):
    put_pack(hall.store, b"x" * 5000)
    hall.store.sweep.add_age(1000)
    hall.give(hall.world.owner)
    hall.pass_time(150)
    hall.reopen(without_catalogue=without_catalogue)
    assert hall.store.notices.left_s(A) == (OWNERS_S if without_catalogue else OWNERS_S - 150)
    assert hall.look() == []
    assert len(hall.files()) == 2


def test_it_is_taken_back_by_who_gave_it_until_it_is_over_and_given_again_it_begins_anew(hall):
    stored = put_pack(hall.store, b"x" * 5000)
    hall.give(hall.world.owner)
    hall.pass_time(OWNERS_S - 1)
    assert hall.give(hall.world.owner, 1) == 0
    assert hall.pass_time(10 * OWNERS_S) == []
    assert hall.store.has(A, stored)
    assert hall.give(hall.world.owner, 2) == OWNERS_S
    hall.store.sweep.add_age(OWNERS_S)
    with pytest.raises(RefusedError, match="ended already"):
        hall.give(hall.world.owner, 3)
    with pytest.raises(RefusedError, match="has ended"):
        hall.store.receive(A, stored, 5000)


def test_each_side_takes_back_only_its_own(hall):
    hall.give(hall.world.owner)
    hall.give(hall.world.host)
    assert hall.give(hall.world.owner, 1) == 2 * LOCK_S, "the host's stands"
    assert hall.give(hall.world.host, 1) == 0
    assert hall.store.notices.left_s(A) is None


@pytest.mark.parametrize("last", [1, 2, 3])
def test_neither_a_replay_nor_a_number_out_of_turn_does_anything(hall, last):
    with pytest.raises(RefusedError, match="notice 1"):
        hall.give(hall.world.owner, last)
    first = hall.sign(hall.world.owner)
    hall.store.notices.give(A, first)
    hall.pass_time(20)
    assert hall.store.notices.give(A, first) == OWNERS_S - 20, "said again as the answer was not heard"
    hall.give(hall.world.owner, 1)
    with pytest.raises(RefusedError, match="notice 3"):
        hall.store.notices.give(A, first)


def test_nobody_else_ends_an_agreement_and_no_bit_may_flip(hall):
    with pytest.raises(ProtocolViolation):
        hall.give(SigningKey.from_seed(b"e" * 32))
    signed = hall.sign(hall.world.owner)
    with pytest.raises(AuthenticationFault):
        hall.store.notices.give(A, signed[:-64] + bytes(64))
    with pytest.raises(NotFoundError):
        hall.store.notices.give(agreement_id(9), signed)
    hall.store.leases.put(hall.world.agree(2, lock_s=LOCK_S))
    with pytest.raises(ProtocolViolation):
        hall.store.notices.give(agreement_id(2), signed)
    for place in range(len(signed)):
        with pytest.raises((PeerFault, RefusedError, NotFoundError)):
            hall.store.notices.give(A, signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :])
    assert hall.store.notices.left_s(A) is None


def test_since_a_take_over_the_writing_device_must_have_signed_too(hall):
    heir = SigningKey.from_seed(b"D" * 32)
    first = hall.world.head(1)
    put = hall.store.heads.put_head
    put(A, first, hall.world.grant(), signer=hall.world.host, now_ms=NOW_MS)
    second = hall.world.head(2, first, epoch=2, device=heir)
    put(A, second, hall.world.grant(2, device=heir), signer=hall.world.host, now_ms=NOW_MS)
    with pytest.raises(RefusedError, match="another machine"):
        hall.give(hall.world.owner)
    signed = hall.sign(hall.world.owner)
    for wrong in (sign_beside(Notice, signed, hall.world.device), bytes(64), b"x"):
        with pytest.raises(RefusedError, match="another machine"):
            hall.store.notices.give(A, signed, wrong)
    assert hall.store.notices.give(A, signed, sign_beside(Notice, signed, heir)) == OWNERS_S
    assert hall.give(hall.world.host) == OWNERS_S, "a host has no device"


def test_what_was_deleted_before_and_what_arrives_last_go_too(hall):
    data = b"y" * 5000
    hall.give(hall.world.owner)
    hall.store.sweep.add_age(OWNERS_S - 1)
    with hall.store.receive(A, compute_stored_id(data), len(data)) as incoming:
        hall.store.sweep.add_age(1)
        assert hall.look() == [], "a pack is arriving: its room is reserved"
        incoming.write(memoryview(data))
        incoming.commit()
    assert hall.look() == [A]
    assert hall.files() == []


def test_what_ends_is_marked_durably_before_a_file_goes(hall):
    put_pack(hall.store, b"x" * 5000)
    hall.give(hall.world.host)
    hall.store.sweep.add_age(2 * LOCK_S)
    said = []
    catalogue = hall.store._catalogue
    catalogue.run(lambda db: db.set_trace_callback(said.append))
    hall.store.endings.doom()
    catalogue.run(lambda db: db.set_trace_callback(None))
    at = next(number for number, sql in enumerate(said) if sql.startswith("UPDATE packs SET due_s = 0"))
    level = [sql for sql in said[:at] if "synchronous" in sql][-1]
    assert level == "PRAGMA synchronous=FULL", "a power cut would bring the row back, and the loss would be confessed"
    assert [sql for sql in said if "synchronous" in sql][-1] == "PRAGMA synchronous=NORMAL"


def test_killed_while_it_erases_it_goes_on_when_it_is_opened_again(hall):
    for number in range(3):
        put_pack(hall.store, bytes([number]) * 5000)
    hall.give(hall.world.owner)
    hall.store.sweep.add_age(OWNERS_S)
    hall.store.endings.doom()
    hall.reopen(without_catalogue=False)
    assert hall.look() == [A]
    assert hall.files() == []


def test_a_notice_that_can_not_be_read_ends_nothing_and_is_told(hall):
    put_pack(hall.store, b"x" * 5000)
    hall.give(hall.world.owner)
    path = hall.store.directory / "agreements" / A.hex() / "notice.owner"
    for data in (b"", b"BPNOTE01\n", path.read_bytes()[:-1], path.read_bytes()[:12] + b"\1" + path.read_bytes()[13:]):
        path.write_bytes(data)
        hall.reopen()
        assert len([note for note in hall.store.notes if "notice" in note]) == 1
        assert hall.store.notices.left_s(A) is None
        assert hall.pass_time(10 * OWNERS_S) == []


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), *[st.binary(max_size=200)] * 3)
def test_a_file_of_a_notice_says_what_was_written(given_s, due_s, signed, grant, device_sig):
    file = NoticeFile(given_s, due_s, signed, grant, device_sig)
    assert split_notice(join_notice(file)) == file


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"BPNOTE01\n" + rest))
def test_any_other_bytes_are_no_notice(data):
    with pytest.raises(ValueError, match=r"^$"):
        split_notice(data)
