"""Promises in return: what both sides count, whom a host takes nothing new from, and since when."""

import asyncio
import threading

import pytest

from agent.estates import Estate
from agent.hosted import hosted
from agent.houses import WISH, HostHouse, OwnerHouse, offer
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.host.reciprocity import Balance, Reciprocity
from backuppeer.agent.owner.ending import Ending
from backuppeer.errors import ExitCode, RefusedError
from backuppeer.ids import AgreementId
from backuppeer.limits import MIB, RECIPROCITY_GRACE_S, RECIPROCITY_LOOK_S, REQUEST_KEPT_S
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.promises import Promises
from backuppeer.proof.revisions import revise
from backuppeer.proof.statements import sign_statement
from backuppeer.signaling.knock import Verdict
from backuppeer.trust.tenants import Deed
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetRange, Proceed, PutPack, Range, Refused, Stored

MUTUAL = WISH._replace(promises=Promises(1000))


class Both:
    """A home that is owner and host, with one identity."""

    def __init__(self, folder, seed):
        self.owner = OwnerHouse(folder, seed)
        self.host = HostHouse(
            folder / "hosting", seed, identity=self.owner.keys.identity, state=self.owner.state, offered_bytes=64 * MIB
        )
        self.peer, self.state = self.owner.peer, self.owner.state
        self.promises = Reciprocity(self.state, self.host.premises, self.host.clock)
        self.host.requests.is_owed = self.promises.is_owed

    def close(self):
        self.host.close()
        self.owner.close()

    def turn(self, seconds):
        self.host.clock.ms += int(seconds * 1000)

    def ask(self, other, *, size_bytes=WISH.size_bytes, state=RequestState.WAITING, **changes):
        """Keep an own request to another home, as `connect` does."""
        wish = {"term_s": WISH.term_s, "lock_s": WISH.lock_s, **changes}
        record = RequestRecord(
            "ab" * 16, Direction.OUT, other.peer, size_bytes, state=state, since_ms=self.host.clock.now_ms(), **wish
        )
        self.state.put_request(record)

    def owed(self, other):
        """What the other home owes this one, as both of them count it."""
        ours, theirs = self.promises.owed_to_us(other.peer), other.promises.owed_by_us(self.peer)
        assert ours == theirs, "both sides come to the same"
        return ours


@pytest.fixture
def alice(tmp_path):
    made = Both(tmp_path / "alice", b"A")
    yield made
    made.close()


@pytest.fixture
def bob(tmp_path):
    made = Both(tmp_path / "bob", b"B")
    yield made
    made.close()


def refused(alice, bob):
    """What alice's host says to bob's next pack, looked at anew."""
    alice.turn(RECIPROCITY_LOOK_S)
    return alice.promises.find_debt(bob.peer)


def test_both_sides_count_the_same_from_what_they_signed_in_both_directions(alice, bob):
    assert alice.owed(bob) == Balance()
    bob.owner.agree_with(alice.host, MUTUAL)
    assert alice.owed(bob) == Balance(WISH.size_bytes, 0)
    assert bob.owed(alice) == Balance(0, WISH.size_bytes), "alice promised nothing"
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB), number=2)
    assert alice.owed(bob) == Balance(WISH.size_bytes, MIB)
    assert alice.owed(bob).lacking_bytes == WISH.size_bytes - MIB
    alice.owner.agree_with(bob.host, WISH, number=3)
    assert alice.owed(bob).lacking_bytes == 0


def test_the_command_that_makes_up_for_it_names_sizes_in_all(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB), number=2)
    (said,) = alice.promises.describe()
    assert "ask it for 3MiB more with `backup-peer peers resize " in said
    assert said.endswith(" 4MiB`")
    assert bob.host.premises.offer_for(200 * MIB) == 201 * MIB, "what is agreed stays on offer"


def test_who_was_never_asked_owes_and_is_refused_nothing(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    for _ in range(3):
        assert refused(alice, bob) == ""
        alice.turn(RECIPROCITY_GRACE_S)
    assert alice.promises.refused_from_ms(bob.peer) is None
    (said,) = alice.promises.describe()
    assert "promised to keep 4.19 MB for you, and keeps 0 B: ask it for 4MiB more with `backup-peer connect " in said
    assert said.endswith(" --storage 64MiB`"), "less is no agreement"
    (said,) = bob.promises.describe()
    assert "you promised" in said
    assert "have 4MiB on offer for it, with `backup-peer host --storage 64MiB`. Once it has asked in vain for" in said


def test_after_it_was_asked_in_vain_for_the_grace_nothing_new_is_taken_until_it_is_agreed(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob)
    assert refused(alice, bob) == ""
    since_ms = alice.host.clock.ms
    assert alice.promises.refused_from_ms(bob.peer) == since_ms + RECIPROCITY_GRACE_S * 1000
    alice.state.drop_requests(since_ms + 1)  # own requests are kept for a week only
    alice.turn(RECIPROCITY_GRACE_S - RECIPROCITY_LOOK_S - 1)
    assert refused(alice, bob) == ""
    assert "you asked in vain; from 2026-" in alice.promises.describe()[0]
    alice.turn(1)
    words = refused(alice, bob)
    assert words.startswith(
        "you promised to keep 4.19 MB in return, and 0 B are agreed on; asked for in vain since 2026-"
    )
    assert "may store nothing new here until it does; what is here can be read as ever" in alice.promises.describe()[0]
    alice.owner.agree_with(bob.host, WISH, number=2)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) is None
    assert (alice.promises.describe(), bob.promises.describe()) == ([], [])


@pytest.mark.parametrize(
    "unfair",
    [
        {"size_bytes": WISH.size_bytes + 1},
        {"term_s": WISH.term_s + 1},
        {"lock_s": WISH.lock_s + 1},
        {"promises": Promises(1)},
        {"promises": Promises(availability=950)},
        {"state": RequestState.SUPERSEDED},
    ],
)
def test_asking_for_more_or_on_harder_terms_than_was_promised_begins_no_grace(alice, bob, unfair):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob, **unfair)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) is None


def test_what_was_asked_for_before_it_was_promised_begins_no_grace(alice, bob):
    alice.ask(bob, state=RequestState.REJECTED)
    bob.owner.clock.ms = alice.host.clock.ms + 1
    alice.turn(1)
    bob.owner.agree_with(alice.host, MUTUAL)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) is None
    alice.ask(bob)
    refused(alice, bob)
    assert alice.promises.refused_from_ms(bob.peer) is not None


@pytest.mark.parametrize(
    ("offered", "is_in_vain"),
    [
        (WISH, False),
        (WISH._replace(size_bytes=WISH.size_bytes - 1), True),
        (WISH._replace(term_s=WISH.term_s - 1), True),
        (MUTUAL, True),
        (WISH._replace(promises=Promises(availability=950)), False),
    ],
)
def test_an_offer_of_less_or_for_something_in_return_is_in_vain_too(alice, bob, offered, is_in_vain):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob, state=RequestState.OFFERED, offer=offered)
    refused(alice, bob)
    assert (alice.promises.refused_from_ms(bob.peer) is not None) is is_in_vain


@pytest.mark.parametrize("state", [RequestState.REJECTED, RequestState.EXPIRED])
def test_a_no_and_no_answer_are_in_vain(alice, bob, state):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob, state=state)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) is not None


def test_who_ends_what_it_kept_in_return_is_in_debt_from_then_on_and_who_ends_its_own_is_not(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    theirs = alice.owner.agree_with(bob.host, WISH, number=2)
    bob_says = sign_notice(theirs, bob.owner.keys.identity, last=0, time_ms=1)
    bob.host.premises.open().notices.give(theirs, bob_says)
    Ending(alice.state, alice.owner.keys, alice.host.clock, reach=None).hear(bob.peer, theirs, bob_says, 0)
    assert alice.owed(bob) == Balance(WISH.size_bytes, 0)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) is not None


def test_what_was_promised_is_given_without_asking_as_long_as_there_is_room_and_nothing_beyond(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    for wish in (WISH._replace(size_bytes=WISH.size_bytes + 1), WISH._replace(lock_s=WISH.lock_s + 1)):
        bob.host.requests.consider_knock(alice.owner.knock(bob.host, wish), offer("ask"))
        assert bob.host.requests.open_request(alice.peer).state is RequestState.WAITING
    bob.host.requests.consider_knock(alice.owner.knock(bob.host, WISH), offer("ask", promises=Promises(2000)))
    assert bob.host.requests.open_request(alice.peer).state is RequestState.ACCEPTED
    agreement = AgreementId(b"\2" * 16)
    signed = bob.host.requests.consider_proposal(alice.peer, alice.owner.propose(bob.peer, WISH, number=2))
    alice.state.put_agreement(agreement, bob.peer, signed)
    assert alice.owed(bob).lacking_bytes == 0
    bob.host.requests.consider_knock(alice.owner.knock(bob.host, WISH._replace(size_bytes=MIB)), offer("ask"))
    assert bob.host.requests.open_request(alice.peer).state is RequestState.WAITING, "the promise is kept by now"


def revised(home, other, wish):
    """A proposal of the next revision of the agreement that home has with other."""
    ((_, _, signed),) = home.state.agreements()
    return sign_statement(revise(signed, wish), home.owner.keys.identity)


def test_space_that_is_owed_is_given_once_however_it_is_asked_for(alice, bob):
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB))
    more = WISH.size_bytes - MIB
    bob.owner.agree_with(alice.host, MUTUAL, number=2)
    assert alice.owed(bob).lacking_bytes == more
    ours = WISH._replace(size_bytes=more)
    assert bob.host.requests.consider_knock(alice.owner.knock(bob.host, ours), offer("ask")) is Verdict.ACCEPTED
    assert bob.host.revising.consider(alice.peer, revised(alice, bob, WISH)) is None, "it is promised to the other wish"
    assert [record.wish for record in bob.host.shown] == [WISH]
    assert bob.host.revising.consider(alice.peer, alice.owner.propose(bob.peer, ours, number=3)) is not None
    assert bob.promises.owed_by_us(alice.peer) == Balance(WISH.size_bytes, WISH.size_bytes)
    assert bob.host.revising.consider(alice.peer, revised(alice, bob, WISH)) is None


def test_of_two_wishes_at_once_for_the_space_that_is_owed_one_gets_it(alice, bob):
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB))
    bob.owner.agree_with(alice.host, MUTUAL, number=2)
    knock = alice.owner.knock(bob.host, WISH._replace(size_bytes=WISH.size_bytes - MIB))
    proposal = revised(alice, bob, WISH)
    begun, answers, count = threading.Event(), {}, bob.promises.is_owed

    def grow():
        answers["more"] = bob.host.revising.consider(alice.peer, proposal)

    def count_while_another_comes(record):
        is_owed = count(record)
        if not begun.is_set():
            begun.set()
            other.start()
            other.join(0.5)  # a wish that does not wait for this one is through by then
        return is_owed

    other = threading.Thread(target=grow)
    bob.host.requests.is_owed = count_while_another_comes
    assert bob.host.requests.consider_knock(knock, offer("ask")) is Verdict.ACCEPTED
    other.join(30)
    assert answers == {"more": None}
    assert [record.wish for record in bob.host.shown] == [WISH], "a person is asked about the second"


def test_a_wish_in_place_of_one_that_was_accepted_as_owed_is_for_the_same_space(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    for wish in (WISH, WISH._replace(size_bytes=MIB), WISH):
        assert bob.host.requests.consider_knock(alice.owner.knock(bob.host, wish), offer("ask")) is Verdict.ACCEPTED
    bob.turn(REQUEST_KEPT_S + 1)
    assert bob.promises.is_owed(bob.host.requests.make_record(alice.peer, WISH, b""))


def test_what_was_accepted_as_owed_and_not_taken_in_time_is_owed_still(alice, bob):
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB))
    bob.owner.agree_with(alice.host, MUTUAL, number=2)
    ours = WISH._replace(size_bytes=WISH.size_bytes - MIB)
    assert bob.host.requests.consider_knock(alice.owner.knock(bob.host, ours), offer("ask")) is Verdict.ACCEPTED
    bob.turn(REQUEST_KEPT_S + 1)
    assert bob.host.revising.consider(alice.peer, revised(alice, bob, WISH)) is not None


def test_while_the_store_is_away_nobody_is_called_in_debt_and_no_grace_is_forgotten(alice, bob):
    bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob)
    refused(alice, bob)
    from_ms = alice.promises.refused_from_ms(bob.peer)
    alice.owner.agree_with(bob.host, WISH._replace(size_bytes=MIB), number=2)
    for home in (alice, bob):
        home.host.premises.close()
        store = home.host.premises.directory
        store.rename(store.with_name("unplugged"))
    alice.turn(RECIPROCITY_GRACE_S)
    assert refused(alice, bob) == ""
    assert alice.promises.refused_from_ms(bob.peer) == from_ms
    assert bob.promises.owed_by_us(alice.peer) == Balance()


def test_a_backup_to_a_host_that_was_asked_in_vain_for_14_days_is_refused_and_says_so(alice, bob, tmp_path, tree):
    async def scenario():
        bob.owner.agree_with(alice.host, MUTUAL)
        alice.ask(bob)
        estate = Estate(bob.owner, tmp_path / "estate")
        try:
            async with hosted(alice.host, bob.owner, find_debt=alice.promises.find_debt) as link:
                estate.sight.sessions[alice.peer] = link.session
                first = (await estate.back_up(tree())).snapshot
                assert estate.vault.complete_hosts() == [alice.peer]
                alice.turn(RECIPROCITY_GRACE_S - 1)
                await estate.back_up(tree())
                alice.turn(1 + RECIPROCITY_LOOK_S)
                (tree() / "new").write_bytes(b"new" * 10_000)
                with pytest.raises(RefusedError, match=r"you promised to keep 4\.19 MB in return") as told:
                    await estate.back_up(tree())
                assert told.value.exit_code == ExitCode.REFUSED
                assert "backup-peer peers show" in told.value.hint
                assert (await estate.restore(first, tmp_path / "out")).errors == 0, "what is there comes back as ever"
        finally:
            estate.close()

    asyncio.run(scenario())


def test_a_host_refuses_new_packs_for_a_debt_in_words_and_gives_back_takes_lists_and_erases_nothing(alice, bob):
    agreement = bob.owner.agree_with(alice.host, MUTUAL)
    alice.ask(bob)

    async def scenario():
        async with hosted(alice.host, bob.owner, find_debt=alice.promises.find_debt) as link:
            await link.put(agreement, b"a" * 50_000)
            alice.turn(RECIPROCITY_GRACE_S + RECIPROCITY_LOOK_S)
            assert Deed.OWING not in alice.host.standing.tenancy(bob.peer)
            put = PutPack(agreement=agreement, stored=compute_stored_id(b"b"), size=1)
            with pytest.raises(RefusedError, match=r"you promised to keep 4\.19 MB in return") as caught:
                await link.ask(put, Proceed)
            assert "backup-peer peers show" in caught.value.hint
            answer = await link.ask(put, Refused)
            assert answer.code == RefusalCode.OWED
            assert alice.host.standing.tenancy(bob.peer)[Deed.OWING] == 1, "for its person: in the owner's record"
            assert await link.put(agreement, b"a" * 50_000) == "known"
            read = GetRange(agreement=agreement, stored=compute_stored_id(b"a" * 50_000), first_leaf=0, leaves=4)
            async with link.session.request(read) as channel:
                got = await channel.receive(Range)
                assert b"".join([bytes(piece) async for piece in channel.receive_raw(got.size)]) == b"a" * 50_000
            listed = PutPack(agreement=agreement, stored=compute_stored_id(b"b"), size=1, is_list=True)
            async with link.session.request(listed) as channel:
                await channel.receive(Proceed)
                await channel.send_raw(b"b")
                await channel.receive(Stored)
            alice.owner.agree_with(bob.host, WISH, number=2)
            alice.turn(RECIPROCITY_LOOK_S)
            assert await link.put(agreement, b"c" * 50_000) == "sent"

    asyncio.run(scenario())
