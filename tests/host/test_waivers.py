"""Locks lowered, deleted packs erased and agreements ended early: by the words' key alone, once, whatever crashes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, NotFoundError, PeerFault, RefusedError, StoreUnavailable
from backuppeer.host import waivers as room
from backuppeer.host.store import Store, create_store
from backuppeer.limits import WAIVER_WINDOW_S, WAIVERS_PER_AGREEMENT
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.removals import PackDelete, PackRevive, sign_removal
from backuppeer.proof.revisions import revise, wish_of
from backuppeer.proof.statements import sign_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver
from host.host_world import NOW_MS, Kept, World, agreement_id, put_pack

A = agreement_id()
LOCK_S = 1000


class Court(Kept):
    """A store with one agreement, a head, and all keys."""

    def __init__(self, store: Store, world: World) -> None:
        super().__init__(store, world, lock_s=LOCK_S)
        self.number = 0
        self.kept = put_pack(store, b"k" * 60_000)
        self.doomed = [put_pack(store, bytes([n]) * 1000) for n in range(3)]
        self.head = b""
        self.put_head()

    def put_head(self) -> None:
        self.number += 1
        self.head = self.world.head(self.number, self.head)
        self.store.heads.put_head(A, self.head, self.world.grant(), signer=self.world.host, now_ms=NOW_MS)

    def ask(self, kind, packs):
        head = statement_hash(self.head), self.number
        signed = sign_removal(kind, packs, self.world.owner, agreement=A, head=head, time_ms=NOW_MS)
        act = self.store.removals.delete if kind is PackDelete else self.store.removals.revive
        return act(A, signed, packs)

    def delete(self, packs=None):
        return self.ask(PackDelete, self.doomed if packs is None else packs)

    def end(self) -> int:
        return self.store.notices.give(A, sign_notice(A, self.world.owner, last=0, time_ms=NOW_MS))

    def bound(self, *, time_ms=NOW_MS):
        terms = statement_hash(self.store.leases.get(A).signed)
        return {"agreement": A, "host": self.world.peer, "terms": terms, "time_ms": time_ms}

    def purge(self, packs=None, *, by: SigningKey | None = None, time_ms=NOW_MS, **changes) -> bytes:
        packs = self.doomed if packs is None else packs
        said = PurgeWaiver(**self.bound(time_ms=time_ms), packs=len(packs), packs_root=root_of_set(packs))
        return sign_statement(msgspec.structs.replace(said, **changes), by or self.world.authority)

    def early_end(self, *, by: SigningKey | None = None, notice=1, time_ms=NOW_MS) -> bytes:
        return sign_statement(EndWaiver(**self.bound(time_ms=time_ms), notice=notice), by or self.world.authority)

    def lowered(self, lock_s: int) -> bytes:
        lease = self.store.leases.get(A)
        waiver = sign_statement(LockWaiver(**self.bound(), lock_s=lock_s), self.world.authority)
        terms = revise(lease.signed, wish_of(lease.terms)._replace(lock_s=lock_s), waiver)
        return sign_statement(terms, self.world.owner, self.world.host)

    def take(self, signed: bytes, *, now_ms=NOW_MS):
        return self.store.waivers.take(A, signed, now_ms=now_ms)

    def lower(self, lock_s: int) -> None:
        self.store.waivers.follow_lock(self.store.leases.put(self.lowered(lock_s)))

    def here(self) -> set[bytes]:
        return {bytes.fromhex(path.name) for path in self.files() if "." not in path.name}


@pytest.fixture
def court(store: Store, world: World):
    made = Court(store, world)
    yield made
    made.store.close()


# --- the lock
def test_a_lowered_lock_counts_for_what_was_deleted_before_from_when_it_was_asked_for(court):
    court.delete()
    court.store.sweep.add_age(300)
    court.look()
    court.lower(400)
    assert court.store.removals.graveyard.left_s(A, court.doomed) == 100
    court.store.sweep.add_age(99)
    court.look()
    assert court.here() == {court.kept, *court.doomed}
    court.store.sweep.add_age(1)
    court.look()
    assert court.here() == {court.kept}


def test_a_mass_deletion_stays_held_twice_as_long_as_the_lowered_lock(court):
    court.delete([court.kept])
    court.lower(400)
    assert court.store.removals.graveyard.left_s(A, [court.kept]) == 800


def test_what_is_deleted_later_has_the_lowered_lock_and_one_raised_again_changes_nothing_of_before(court):
    court.lower(400)
    assert court.delete()[1] == 400
    lease = court.store.leases.get(A)
    raised = sign_statement(
        revise(lease.signed, wish_of(lease.terms)._replace(lock_s=5000)), court.world.owner, court.world.host
    )
    court.store.waivers.follow_lock(court.store.leases.put(raised))
    assert court.store.removals.graveyard.left_s(A, court.doomed) == 400


@pytest.mark.parametrize("without_catalogue", [False, True])
def test_killed_between_the_revision_and_the_rows_the_lock_is_lowered_when_the_store_opens(court, without_catalogue):
    court.delete()
    court.store.sweep.add_age(300)
    court.store.leases.put(court.lowered(400))  # and not a step further
    court.reopen(without_catalogue=without_catalogue)
    # Without catalogue nobody knows how much of a lock was over: it begins anew, never sooner than by the new one.
    assert court.store.removals.graveyard.left_s(A, court.doomed) == (400 if without_catalogue else 100)
    assert court.store.notes[1:] == [], "but for the catalogue that was made again"
    assert court.store.leases.get(A).terms.lock_s == 400
    assert len(court.store.leases.history(A)) == 2


def test_without_the_words_no_revision_lowers_the_lock(court):
    lease = court.store.leases.get(A)
    for by in (court.world.owner, court.world.device, court.world.host):
        waiver = sign_statement(LockWaiver(**court.bound(), lock_s=1), by)
        terms = revise(lease.signed, wish_of(lease.terms)._replace(lock_s=1), waiver)
        with pytest.raises(AuthenticationFault):
            court.store.leases.put(sign_statement(terms, court.world.owner, court.world.host))
    assert court.store.leases.get(A).terms.lock_s == LOCK_S


# --- deleted packs
def test_what_was_shown_as_deleted_goes_with_the_next_sweep_and_nothing_else_does(court):
    court.delete()
    assert court.take(court.purge()) == (3, 3000)
    court.look()
    assert court.here() == {court.kept}
    court.reopen()
    assert court.store.usage(A).packs == 1
    assert court.store.notes == []
    assert len(list((court.store.directory / "agreements" / A.hex() / "waivers").iterdir())) == 1, "kept, to be shown"


def test_whoever_has_all_of_the_owners_disk_can_purge_nothing(court):
    court.delete()
    for thief in (court.world.owner, court.world.device, SigningKey.generate()):
        with pytest.raises(AuthenticationFault):
            court.take(court.purge(by=thief))
    court.look()
    assert len(court.here()) == 4


def test_what_was_deleted_after_it_was_shown_is_not_erased_by_it(court):
    court.delete(court.doomed[:2])
    signed = court.purge(court.doomed[:2])
    court.delete([court.kept])  # a thief hurries
    with pytest.raises(RefusedError, match="changed since you were shown it"):
        court.take(signed)
    court.look()
    assert len(court.here()) == 4


@pytest.mark.parametrize("reopens", [False, True])
def test_one_word_purges_once_what_is_revived_and_deleted_again_has_its_lock(court, reopens):
    court.delete()
    signed = court.purge()
    court.take(signed)
    court.put_head()
    assert set(court.ask(PackRevive, court.doomed)) == set(court.doomed)
    court.put_head()
    court.delete()
    if reopens:
        court.reopen()
    assert court.take(signed) == (0, 0)
    court.look()
    assert len(court.here()) == 4
    with pytest.raises(RefusedError, match="later word"):
        court.take(court.purge(time_ms=NOW_MS - 1))


@pytest.mark.parametrize("changes", [{"agreement": agreement_id(2)}, {"host": b"x" * 32}, {"terms": b"x" * 32}])
def test_a_word_for_another_agreement_another_host_or_other_terms_is_refused(court, changes):
    court.delete()
    with pytest.raises((PeerFault, RefusedError)):
        court.take(court.purge(**changes))


@pytest.mark.parametrize("late_s", [WAIVER_WINDOW_S + 1, -WAIVER_WINDOW_S - 1])
def test_a_word_of_another_day_is_refused(court, late_s):
    court.delete()
    with pytest.raises(RefusedError, match="more than a day"):
        court.take(court.purge(), now_ms=NOW_MS + late_s * 1000)


@pytest.mark.parametrize("without_catalogue", [False, True])
def test_killed_once_it_is_kept_it_is_done_when_the_store_opens_and_again_is_fine(
    court, monkeypatch, without_catalogue
):
    court.delete()
    signed = court.purge()

    def killed(self, *args):
        del self, args
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room.Waivers, "_do", killed)
        with pytest.raises(KeyboardInterrupt):
            court.take(signed)
    court.reopen(without_catalogue=without_catalogue)
    assert court.take(signed) == (3, 3000), "its answer was not heard: the same again"
    court.look()
    assert court.here() == {court.kept}
    assert court.take(signed) == (0, 0)


def test_killed_before_it_is_kept_nothing_is_erased(court, monkeypatch):
    court.delete()
    with monkeypatch.context() as patch:
        patch.setattr(room, "replace_file", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StoreUnavailable, match="full"):
            court.take(court.purge())
    court.reopen()
    court.look()
    assert len(court.here()) == 4


def test_a_word_that_can_not_be_read_any_more_is_told_and_erases_nothing(court):
    court.delete()
    with pytest.raises(RefusedError):
        court.take(court.purge(court.doomed[:1]))
    court.take(court.purge())
    (path,) = (court.store.directory / "agreements" / A.hex() / "waivers").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    court.reopen()
    assert "can't be read and is not followed" in court.store.notes[0]
    court.look()
    court.delete([court.kept])
    assert court.take(court.purge([court.kept])) == (1, 60_000), "and the next is taken as ever"


def test_more_words_than_a_host_keeps_are_refused(court):
    folder = court.store.directory / "agreements" / A.hex() / "waivers"
    folder.mkdir()
    for number in range(WAIVERS_PER_AGREEMENT):
        (folder / f"x{number}").touch()
    court.delete()
    with pytest.raises(RefusedError, match="too many words"):
        court.take(court.purge())


# --- the end
def test_an_agreement_that_its_owner_ended_ends_at_once_to_the_last_file(court):
    court.delete()
    court.end()
    assert court.take(court.early_end()) == (4, 63_000)
    assert court.look() == [A]
    assert court.here() == set()
    court.reopen()
    assert court.store.leases.list_all() == []


@pytest.mark.parametrize("reopens", [False, True])
def test_the_word_that_ended_an_agreement_is_answered_again_when_all_is_gone_and_no_other_word_is(court, reopens):
    court.delete()
    early = court.purge(time_ms=NOW_MS - 1)
    court.take(early)
    court.end()
    signed, other = court.early_end(), court.early_end(time_ms=NOW_MS + 1)
    court.take(signed)
    assert court.look() == [A]
    if reopens:
        court.reopen()
    assert court.take(signed, now_ms=NOW_MS + 10 * WAIVER_WINDOW_S * 1000) == (0, 0)
    for word in (early, other):
        with pytest.raises(NotFoundError):
            court.take(word)
    for name in (agreement_id(2), b"short"):
        with pytest.raises(NotFoundError):
            court.store.waivers.take(name, signed, now_ms=NOW_MS)


def test_without_a_notice_of_its_owner_or_after_it_was_taken_back_nothing_ends(court):
    with pytest.raises(RefusedError, match="no notice of yours"):
        court.take(court.early_end())
    court.end()
    court.store.notices.give(A, sign_notice(A, court.world.owner, last=1, time_ms=NOW_MS))
    for notice in (1, 2, 3):
        with pytest.raises(RefusedError, match="no notice of yours"):
            court.take(court.early_end(notice=notice))
    court.store.notices.give(A, sign_notice(A, court.world.owner, last=2, time_ms=NOW_MS))
    with pytest.raises(RefusedError, match="no notice of yours"):
        court.take(court.early_end(notice=1))
    assert court.look() == []
    assert len(court.here()) == 4


def test_a_hosts_own_notice_is_not_made_shorter_by_it(court):
    court.store.notices.give(A, sign_notice(A, court.world.host, last=0, time_ms=NOW_MS))
    with pytest.raises(RefusedError, match="no notice of yours"):
        court.take(court.early_end())


def test_a_thief_ends_nothing_early(court):
    court.end()
    for thief in (court.world.owner, court.world.device):
        with pytest.raises(AuthenticationFault):
            court.take(court.early_end(by=thief))
    assert court.store.notices.left_s(A) == 2 * LOCK_S


def test_killed_once_an_early_end_is_kept_it_ends_when_the_store_opens(court, monkeypatch):
    court.end()

    def killed(self, *args):
        del self, args
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room.Waivers, "_do", killed)
        with pytest.raises(KeyboardInterrupt):
            court.take(court.early_end())
    court.reopen(without_catalogue=True)
    assert court.look() == [A]
    assert court.here() == set()


# --- properties
@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_pack_goes_before_the_lock_that_was_in_force_or_lowered_by_the_words(tmp_path_factory, data):
    """Any order of deletes, time and lowered locks: what goes early goes by the lowest lock that the words gave."""
    world = World()
    court = Court(create_store(tmp_path_factory.mktemp("host") / "store", world.peer, floor_bytes=0), world)
    lock_s, age_s, asked = LOCK_S, 0, {}
    try:
        for step in data.draw(st.lists(st.sampled_from(["delete", "wait", "lower", "reopen"]), max_size=8)):
            if step == "delete" and (left := [pack for pack in court.doomed if pack not in asked]):
                court.delete(left[:1])
                asked[left[0]] = age_s
            elif step == "wait":
                seconds = data.draw(st.integers(1, 400))
                court.store.sweep.add_age(seconds)
                age_s += seconds
            elif step == "lower" and lock_s > 1:
                lock_s = data.draw(st.integers(1, lock_s - 1))
                court.lower(lock_s)
            elif step == "reopen":
                court.reopen()
            court.look()
            here = court.here()
            assert court.kept in here
            for pack in court.doomed:
                is_due = pack in asked and age_s >= asked[pack] + lock_s
                assert (pack in here) is not is_due
    finally:
        court.store.close()
