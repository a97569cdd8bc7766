"""Owner and host change an agreement over a network in memory, each with its real state and store."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest

from agent.hosted import hosted
from agent.houses import WISH, FixedReach, offer
from backuppeer.agent.commands import owner as owner_commands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.owner import listening
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.owner.waiving import Waiving
from backuppeer.agent.peers.wishes import name_of_request
from backuppeer.agent.recovery.adoption import adopt_agreements
from backuppeer.clock import SystemClock
from backuppeer.control.saving import BackupRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NotFoundError, PeerUnreachable, PendingError, ProtocolViolation, RefusedError, Unavailable
from backuppeer.ids import format_peer_id
from backuppeer.limits import LISTING_TERM_S, MIB
from backuppeer.proof.revisions import Wish, revise, wish_of
from backuppeer.proof.statements import Agreement, add_signature, peek_statement, sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY
from backuppeer.wire.messages import Hello, Pending, Unsupported
from backuppeer.wire.terms import GetTerms, PutTerms, TermsAre, TermsPut

MORE, LESS = Wish(8 * MIB, *WISH[1:]), Wish(2 * MIB, *WISH[1:])


async def quiet(state, text):
    del state, text


class Blames(list):
    def __call__(self, peer, error):
        self.append((peer, type(error)))


def revising(owner, session):
    blames = Blames()
    made = Revising(owner.state, owner.keys, SystemClock(), reach=FixedReach(session), blame=blames)
    made.blames = blames
    return made


def want(wish):
    return lambda _: wish


def owned(owner):
    (signed,) = [signed for _, _, signed in owner.state.agreements()]
    return signed


def hosted_terms(house):
    (lease,) = house.premises.open().leases.list_all()
    return lease


def in_force(house, owner):
    """The terms that both sides have, which must be the same bytes."""
    assert owned(owner) == hosted_terms(house).signed
    return wish_of(peek_statement(Agreement, owned(owner)))


def cosign(house, owner, signed, wish):
    """The next revision, by both, in nobody's hands yet."""
    return sign_statement(revise(signed, wish), owner.keys.identity, house.identity)


def grow(house, owner, *wishes):
    """Give the host revisions that the owner does not hear of; return all, oldest first."""
    chain = [hosted_terms(house).signed]
    for wish in wishes:
        chain.append(cosign(house, owner, chain[-1], wish))
        house.premises.agree(chain[-1])
    return chain


def play(house, owner, scenario, **options):
    async def run():
        async with hosted(house, owner, **options) as link:
            await scenario(link, revising(owner, link.session))

    asyncio.run(run())


def test_a_smaller_agreement_takes_effect_without_asking_and_the_chain_is_kept_on_both_sides(house, owner):
    agreement = owner.agree_with(house)

    async def scenario(link, way):
        found = await way.change(house.peer, want(LESS), quiet, wait_s=5)
        assert (found.revision, in_force(house, owner)) == (2, LESS)
        assert house.shown == []
        assert house.premises.open().leases.history(agreement) == owner.state.deeds.after(agreement, 0)
        again = await way.change(house.peer, want(LESS), quiet, wait_s=5)
        assert again.revision == 2, "the same again is no revision"

    play(house, owner, scenario)


def test_never_below_what_is_stored_and_the_refusal_says_how_much_that_is(house, owner):
    agreement = owner.agree_with(house)

    async def scenario(link, way):
        await link.put(agreement, bytes(3 * MIB))
        with pytest.raises(RefusedError, match=r"3\.15 MB are stored"):
            await way.change(house.peer, want(LESS), quiet, wait_s=5)
        assert in_force(house, owner) == WISH
        assert owner.state.find_request(Direction.OUT, house.peer).state is RequestState.REJECTED

    play(house, owner, scenario)


def test_growth_waits_for_the_hosts_person_and_stands_once_that_has_agreed(house, owner):
    owner.agree_with(house)

    async def scenario(link, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        (shown,) = house.shown
        assert shown.wish == MORE
        assert in_force(house, owner) == WISH
        await way.settle(link.session)
        assert house.shown == [shown], "asked again, not shown again"
        house.requests.decide(format_peer_id(owner.peer), accept=True)
        await way.settle(link.session)
        assert in_force(house, owner) == MORE
        assert owner.state.find_request(Direction.OUT, house.peer).state is RequestState.AGREED
        assert house.state.find_request(Direction.IN, owner.peer).state is RequestState.AGREED
        assert len(house.premises.leases_of(owner.peer)) == 1, "one agreement, revised"

    play(house, owner, scenario)


def test_an_answer_given_meanwhile_is_heard_when_a_person_looks(house, owner):
    owner.agree_with(house)

    async def scenario(_, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        house.requests.decide(format_peer_id(owner.peer), accept=True)
        await way.hear_answers([])
        assert way.is_waiting(house.peer)
        await way.hear_answers([house.peer])
        assert not way.is_waiting(house.peer)
        assert in_force(house, owner) == MORE

    play(house, owner, scenario)


def test_a_no_ends_the_request_in_the_words_of_the_person(house, owner):
    owner.agree_with(house)

    async def scenario(link, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        house.requests.decide(format_peer_id(owner.peer), accept=False, reason="no room for that")
        with pytest.raises(RefusedError, match="no room for that"):
            await way.change(house.peer, want(MORE), quiet, wait_s=5)
        assert in_force(house, owner) == WISH

    play(house, owner, scenario)


@pytest.mark.parametrize(
    ("wish", "is_asked"), [(MORE, False), (Wish(WISH[0], 86400, 60), False), (Wish(WISH[0], 86400 * 9, 60), True)]
)
def test_the_policy_of_the_slot_answers_within_what_it_offers_and_a_person_beyond(house, owner, wish, is_asked):
    owner.agree_with(house)
    house.revising.on_offer = lambda: offer("trusted")

    async def scenario(link, way):
        if is_asked:
            with pytest.raises(PendingError):
                await way.change(house.peer, want(wish), quiet, wait_s=0.3)
        else:
            await way.change(house.peer, want(wish), quiet, wait_s=5)
        assert in_force(house, owner) == (WISH if is_asked else wish)
        assert len(house.shown) == is_asked

    play(house, owner, scenario)


def test_more_than_the_host_has_left_is_refused_before_its_person_is_bothered(house, owner):
    owner.agree_with(house)

    async def scenario(link, way):
        with pytest.raises(RefusedError, match="not that much space"):
            await way.change(house.peer, want(Wish(10**15, *WISH[1:])), quiet, wait_s=5)
        assert house.shown == []

    play(house, owner, scenario)


@pytest.mark.parametrize("accept", ["all", "ask"])
@pytest.mark.parametrize(
    "changes",
    [
        {"notice_s": 11}, {"notice_s": 2**40}, {"notice_s": 2**62}, {"term_s": 2**53},
        {"lock_s": 2**53},
    ],
)  # fmt: skip
def test_a_host_is_not_bound_for_ages_by_a_revision_and_its_person_is_not_asked(house, owner, accept, changes):
    owner.agree_with(house)
    house.revising.on_offer = lambda: offer(accept)
    asked = msgspec.structs.replace(revise(owned(owner), MORE), **changes)
    with pytest.raises(RefusedError):
        house.revising.consider(owner.peer, sign_statement(asked, owner.keys.identity))
    assert house.shown == []
    assert in_force(house, owner) == WISH


@pytest.mark.parametrize("wish", [MORE._replace(term_s=LISTING_TERM_S + 1), MORE._replace(lock_s=LISTING_TERM_S + 1)])
def test_more_than_a_century_is_neither_asked_for_nor_offered(house, owner, wish):
    owner.agree_with(house)

    async def scenario(_, way):
        with pytest.raises(RefusedError, match="100 years"):
            await way.change(house.peer, want(wish), quiet, wait_s=5)
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        with pytest.raises(RefusedError, match="100 years"):
            house.revising.offer(house.shown[0].request, size_bytes=None, term_s=wish.term_s, lock_s=wish.lock_s)

    play(house, owner, scenario)


def test_a_host_that_offers_ages_breaks_the_protocol_and_nothing_of_it_is_kept(house, owner):
    owner.agree_with(house)

    async def serve(_, channel):
        opener = await channel.receive_any()
        await channel.send(TermsAre() if isinstance(opener, GetTerms) else Pending(size_bytes=MIB, term_s=2**60))
        await channel.finish()
        await channel.wait_end()

    async def scenario(_, way):
        with pytest.raises((ProtocolViolation, Unavailable)):
            await way.change(house.peer, want(MORE), quiet, wait_s=5)
        assert owner.state.find_request(Direction.OUT, house.peer).offer is None

    play(house, owner, scenario, serve=serve)


def test_acceptance_of_growth_is_none_of_a_second_agreement(house, owner):
    owner.agree_with(house)

    async def scenario(link, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        house.requests.decide(format_peer_id(owner.peer), accept=True)
        with pytest.raises(RefusedError, match="no request of yours"):
            house.requests.consider_proposal(owner.peer, owner.propose(house.peer, MORE, number=2))

    play(house, owner, scenario)


def test_another_offer_by_the_hosts_person_is_taken_by_asking_for_just_that(house, owner):
    owner.agree_with(house)
    half = Wish(6 * MIB, *WISH[1:])

    async def scenario(link, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.3)
        house.revising.offer(format_peer_id(owner.peer), size_bytes=half.size_bytes, term_s=None, lock_s=None)
        with pytest.raises(RefusedError, match="other terms") as told:
            await way.change(house.peer, want(MORE), quiet, wait_s=5)
        record = owner.state.find_request(Direction.OUT, house.peer)
        assert name_of_request(owner.peer, record)[:8] in told.value.hint
        assert (record.state, record.wish, record.offer) == (RequestState.OFFERED, MORE, half)
        assert in_force(house, owner) == WISH, "nothing is taken by itself"
        await way.take_offer(record, quiet)
        assert in_force(house, owner) == half

    play(house, owner, scenario)


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_what_the_host_signed_and_we_never_heard_of_is_adopted_in_the_next_session(house, owner, steps):
    agreement = owner.agree_with(house)
    chain = grow(house, owner, *[Wish(WISH[0] + step, *WISH[1:]) for step in range(1, steps + 1)])

    async def scenario(link, way):
        await way.settle(link.session)
        assert in_force(house, owner).size_bytes == WISH[0] + steps
        assert owner.state.deeds.after(agreement, 0) == chain
        assert way.blames == []

    play(house, owner, scenario)


def test_a_hello_brings_the_next_revision_but_none_that_skips_one_or_is_of_another_chain(house, owner):
    owner.agree_with(house)
    first = owned(owner)
    second = cosign(house, owner, first, MORE)
    third = cosign(house, owner, second, LESS)
    stray = peek_statement(Agreement, second)
    stray = sign_statement(msgspec.structs.replace(stray, previous=b"x" * 32), owner.keys.identity, house.identity)

    async def scenario(link, _):
        for shown, expected in [(third, first), (stray, first), (second, second), (first, second)]:
            link.session.hello = Hello(agreements=(shown,))
            adopt_agreements(owner.state, owner.keys, link.session)
            assert owned(owner) == expected

    play(house, owner, scenario)


def test_a_host_that_was_set_back_is_brought_up_to_what_it_signed(house, owner):
    agreement = owner.agree_with(house)
    first = owned(owner)
    second = cosign(house, owner, first, MORE)
    third = cosign(house, owner, second, LESS)
    for signed in (second, third):
        owner.state.put_agreement(agreement, house.peer, signed)

    async def scenario(link, way):
        link.session.hello = Hello(agreements=(first,))
        await way.settle(link.session)
        assert in_force(house, owner) == LESS
        assert house.premises.open().leases.history(agreement) == [first, second, third]

    play(house, owner, scenario)


@pytest.mark.parametrize("lie", ["another chain", "lower lock", "unsigned", "another agreement"])
def test_a_host_that_shows_another_chain_is_at_fault_and_nothing_is_adopted(house, owner, lie):
    agreement = owner.agree_with(house)
    next_one = revise(owned(owner), MORE)
    changes = {
        "another chain": {"previous": b"x" * 32},
        "lower lock": {"lock_s": 0},
        "another agreement": {"agreement": b"z" * 16},
    }
    told = msgspec.structs.replace(next_one, **changes.get(lie, {}))
    signed = sign_statement(told, owner.keys.identity, house.identity)
    signed = signed[:-64] + bytes(64) if lie == "unsigned" else signed

    async def serve(_, channel):
        await channel.receive(GetTerms)
        await channel.send(TermsAre(revisions=(signed,)))
        await channel.finish()
        await channel.wait_end()

    async def scenario(link, way):
        before = owned(owner)
        with pytest.raises(ProtocolViolation):
            await way.settle(link.session)
        assert owned(owner) == before
        assert way.blames == [(house.peer, ProtocolViolation)]
        assert owner.state.deeds.after(agreement, 1) == []

    play(house, owner, scenario, serve=serve)


def test_a_host_of_before_knows_no_terms_and_goes_on_as_before(house, owner):
    owner.agree_with(house)

    async def serve(_, channel):
        await channel.receive_any()
        await channel.send(Unsupported(type=47))
        await channel.finish()
        await channel.wait_end()

    async def scenario(link, way):
        await way.settle(link.session)
        assert way.blames == []
        with pytest.raises(RefusedError, match="does not know"):
            await way.change(house.peer, want(MORE), quiet, wait_s=5)

    play(house, owner, scenario, serve=serve)


def test_nobody_reads_or_revises_the_agreement_of_another(house, owner, tmp_path):
    agreement = owner.agree_with(house)
    stranger = type(owner)(tmp_path / "stranger", b"s")

    async def scenario(link, way):
        second = cosign(house, owner, owned(owner), MORE)
        for message, kind in [
            (GetTerms(agreement=agreement), TermsAre),
            (PutTerms(agreement=agreement, signed=second), TermsPut),
        ]:
            with pytest.raises(RefusedError, match="no such agreement"):
                await link.ask(message, kind)
        with pytest.raises(NotFoundError):
            await way.change(house.peer, want(MORE), quiet, wait_s=1)

    play(house, stranger, scenario)
    assert in_force(house, owner) == WISH
    stranger.close()


def test_a_revision_that_only_the_owner_signed_is_not_put_into_force_by_handing_it_over(house, owner):
    agreement = owner.agree_with(house)
    half = sign_statement(revise(owned(owner), MORE), owner.keys.identity)
    forged = add_signature(half, Agreement, house.identity)[:-64] + bytes(64)

    async def scenario(link, _):
        with pytest.raises((RefusedError, Unavailable)):  # its signature is wrong: the session is closed on us
            await link.ask(PutTerms(agreement=agreement, signed=forged), TermsPut)
        assert wish_of(hosted_terms(house).terms) == WISH

    play(house, owner, scenario)


def test_a_backup_first_fetches_the_room_that_a_host_has_agreed_to_meanwhile(house, owner, monkeypatch):
    owner.agree_with(house)
    terms_seen = []

    async def run_backup(*_):
        terms_seen.append(in_force(house, owner))
        raise RefusedError("seen enough")

    @asynccontextmanager
    async def at_work(_):
        yield None, None

    async def scenario(_, way):
        with pytest.raises(PendingError):
            await way.change(house.peer, want(MORE), quiet, wait_s=0.1)
        house.requests.decide(format_peer_id(owner.peer), accept=True)
        assert wish_of(peek_statement(Agreement, owned(owner))) == WISH, "not heard of yet"
        parts = SimpleNamespace(home=owner.home, state=owner.state)
        commands = OwnerCommands(SimpleNamespace(parts=parts, owner=SimpleNamespace(revising=way)))
        monkeypatch.setattr(commands, "_at_work", at_work)
        monkeypatch.setattr(owner_commands, "run_backup", run_backup)
        with pytest.raises(RefusedError, match="seen enough"):
            await commands.backup(BackupRequest(paths=["/"]), quiet)
        assert terms_seen == [MORE]

    play(house, owner, scenario)


async def freeze(_, channel):
    await channel.receive_any()
    await asyncio.Event().wait()


@pytest.mark.timeout(30)
def test_a_frozen_host_is_waited_for_no_longer_than_was_said_and_is_named(house, owner, monkeypatch):
    monkeypatch.setattr(listening, "SILENT_LEAST_S", 0.1)
    monkeypatch.setattr(listening, "MEET_LEAST_S", 0.1)
    owner.agree_with(house)
    owner.state.call(house.peer, "alice", 1)

    async def scenario(link, way):
        with pytest.raises(PeerUnreachable, match=r"^alice did not answer in time") as caught:
            await way.change(house.peer, want(MORE), quiet, wait_s=0.1)
        assert "--wait" in caught.value.hint
        waiving = Waiving(owner.state, owner.keys, owner.clock, reach=way._reach, revising=way, ending=None)
        with pytest.raises(PeerUnreachable, match=r"^alice did not answer in time"):
            await waiving.look(house.peer, wait_s=0.1)

    play(house, owner, scenario, serve=freeze)


def test_a_host_that_went_away_in_mid_question_is_named_and_it_is_said_what_to_do(house, owner):
    owner.agree_with(house)
    owner.state.call(house.peer, "alice", 1)

    async def leave(_, channel):
        await channel.receive_any()
        await channel.abort()

    async def scenario(link, way):
        with pytest.raises(PeerUnreachable, match=r"^alice: ") as caught:
            await way.change(house.peer, want(MORE), quiet, wait_s=60)
        assert caught.value.hint

    play(house, owner, scenario, serve=leave)


def test_an_agreement_of_before_names_its_hosts_authority_from_the_next_revision_on_and_nobody_is_asked(house, owner):
    agreement = owner.agree_with(house)
    told = house.revising._authority = SigningKey.from_seed(b"H" * 32).public
    less = WISH._replace(size_bytes=WISH.size_bytes // 2)

    async def scenario():
        async with hosted(house, owner) as link:
            link.session.hello = Hello(authority=told)
            reach = FixedReach(link.session)
            revising = Revising(owner.state, owner.keys, SystemClock(), reach=reach, blame=lambda *_: None)
            for wish in (less, less._replace(size_bytes=less.size_bytes // 2)):
                await revising.change(house.peer, lambda _, wish=wish: wish, quiet, wait_s=5)

    asyncio.run(scenario())
    lease = house.premises.open().leases.get(agreement)
    assert (lease.terms.revision, lease.terms.ext[HOST_AUTHORITY]) == (3, told)
    assert house.shown == []
