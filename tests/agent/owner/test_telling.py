"""A host told of an heir has other terms than this home knows: a thief's, or another home's of the same words."""

import asyncio

import msgspec
import pytest

from agent.estates import estate_of
from agent.hosted import hosted
from agent.houses import offer
from agent.parties import Party
from agent.successors import announcing, begin, follow, go_on, job, terms_at
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.owner.telling import tell_host
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SIGNATURE_BYTES, SigningKey
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import STATEMENT_BYTES, SUCCESSION_SPARE_BYTES
from backuppeer.proof.revisions import Wish, revise
from backuppeer.proof.statements import Agreement, open_statement, sign_statement
from backuppeer.wire.messages import Hello
from backuppeer.wire.succeeding import Succeed, Succeeded
from backuppeer.wire.terms import GetTerms, TermsAre


def revise_at(house, signed, identity, less_s, **changes):
    """What a home of the same identity does with a host, and no other home hears of; returns what is in force."""
    terms = open_statement(Agreement, signed, PeerId(identity.public), house.peer)
    wish = Wish(*house.wish)._replace(term_s=house.wish.term_s - less_s)
    proposal = msgspec.structs.replace(revise(signed, wish), **changes)
    return house.revising.consider(PeerId(terms.owner), sign_statement(proposal, identity))


def test_what_a_thief_has_agreed_on_meanwhile_is_learnt_before_a_host_is_told(house, owner):
    agreement = owner.agree_with(house)
    first = owner.state.latest_agreement(house.peer)
    revise_at(house, revise_at(house, first, owner.keys.identity, 60), owner.keys.identity, 120)
    begin(owner.home)
    keys = go_on(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            made = announcing(owner, keys, link)
            await follow(made, link)
            assert (made.waiting(), terms_at(house).owner, terms_at(house).revision) == ([], keys.peer, 4)
            assert len(owner.state.deeds.after(agreement, 0)) == 4

    asyncio.run(scene())


def test_a_thief_who_revises_while_a_host_is_told_gains_a_moment(house, owner, monkeypatch):
    owner.agree_with(house)
    current, real = owner.state.latest_agreement(house.peer), house.succeeding.take
    keys, rounds = begin(owner.home), 0

    def late(peer, message):
        nonlocal current, rounds
        if rounds < 3:
            rounds += 1
            current = revise_at(house, current, owner.keys.identity, 60 * rounds)
        return real(peer, message)

    monkeypatch.setattr(house.succeeding, "take", late)

    async def scene():
        async with hosted(house, owner) as link:
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            assert (terms_at(house).owner, terms_at(house).revision) == (keys.heir.peer, 5)

    asyncio.run(scene())


def agree_as_thief(house, owner):
    """A further agreement of the identity and its authority, over a repository that no home of ours has."""
    house.requests.consider_knock(owner.knock(house), offer("all"))
    return house.requests.consider_proposal(owner.peer, owner.propose(house.peer, number=2, repository=bytes(16)))


def owners_at(house):
    return {lease.terms.owner for lease in house.premises.open().leases.list_all()}


def test_an_agreement_that_a_thief_made_goes_over_with_the_others_and_is_none_of_ours(house, owner):
    agreement = owner.agree_with(house)
    made = agree_as_thief(house, owner)
    keys = begin(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            with pytest.raises(RefusedError, match="no proposal follows"):
                await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            link.session.hello = Hello(agreements=(made,))
            told = await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            assert (told, owners_at(house)) == ([agreement], {keys.heir.peer})
            assert [row[0] for row in owner.state.agreements()] == [agreement]

    asyncio.run(scene())


def test_an_agreement_that_names_another_authority_is_none_that_an_heir_signs(house, owner, monkeypatch):
    owner.agree_with(house)
    known = open_statement(Agreement, owner.state.latest_agreement(house.peer), owner.peer, house.peer)
    foreign = msgspec.structs.replace(known, agreement=b"f" * 16, authority=SigningKey.generate().public)
    shown = sign_statement(foreign, owner.keys.identity, house.identity)
    keys, real, proposed = begin(owner.home), house.succeeding.take, []
    monkeypatch.setattr(
        house.succeeding, "take", lambda peer, said: proposed.append(len(said.proposals)) or real(peer, said)
    )

    async def scene():
        async with hosted(house, owner) as link:
            link.session.hello = Hello(agreements=(shown,))
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            assert (proposed, owners_at(house)) == ([1], {keys.heir.peer})

    asyncio.run(scene())


@pytest.mark.parametrize("steps", [1, 2])
def test_a_home_that_follows_learns_what_another_home_of_the_same_words_agreed_on_before(house, owner, steps):
    agreement = owner.agree_with(house)
    first = owner.state.agreements()
    current = revise_at(house, first[0][2], owner.keys.identity, 60)

    async def go_elsewhere(link):
        """The other home: each time it revises the terms, takes a new identity, and tells the host of it."""
        nonlocal current
        for epoch in range(2, 2 + steps):
            heir = begin(owner.home, epoch=epoch).heir
            owner.state.put_agreement(agreement, house.peer, current)
            party = Party(link.near.network, epoch + 1, identity=load_keys(owner.home).identity, clock=SystemClock())
            await tell_host(await party.dial(link.far), owner.state, heir.succession, heir.identity)
            await party.sessions.close_all()
            go_on(owner.home)
            stepped = owner.state.latest_agreement(house.peer)
            current = revise_at(house, stepped, heir.identity, 60 * epoch)

    async def scene():
        async with hosted(house, owner) as link:
            await go_elsewhere(link)
            owner.state.end_agreement(agreement)
            owner.state.put_agreement(*first[0])  # this home knows no more than this
            keys = load_keys(owner.home)
            made = announcing(owner, keys, link)
            await follow(made, link)
            assert (made.waiting(), owner.state.latest_agreement(house.peer)) == ([], current)
            assert len(owner.state.deeds.after(agreement, 0)) == terms_at(house).revision == 2 + 2 * steps

    asyncio.run(scene())


def test_what_a_thief_agreed_on_since_the_session_began_is_shown_by_the_next_one(house, owner, tmp_path):
    async def scene():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made, link = agree_as_thief(house, owner), estate.links[house.peer]
            estate._close_home()
            keys = begin(estate.home)
            estate._open()

            async def redial():
                session = await link.near.dial(link.far)
                session.hello = Hello(agreements=(made,))
                return session

            estate.sight.redial[house.peer] = redial
            told = await job(estate).tell()
            assert (told.left_out, owners_at(house)) == ([], {keys.heir.peer})

    asyncio.run(scene())


def test_a_host_that_signs_nothing_for_the_heir_does_not_count_as_one_that_follows(house, owner, tmp_path):
    async def sign_nothing(_, channel):
        said = await channel.receive(Succeed, GetTerms)
        is_said = isinstance(said, Succeed)
        await channel.send(Succeeded(succession=said.succession) if is_said else TermsAre())
        await channel.finish()
        await channel.wait_end()

    async def scene():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            estate._close_home()
            before = begin(estate.home)
            estate._open()
            async with hosted(house, owner, serve=sign_nothing) as link:
                estate.sight.sessions[house.peer] = link.session
                with pytest.raises(PeerUnreachable, match="signed nothing"):
                    await job(estate).tell()
            assert load_keys(estate.home).peer == before.peer

    asyncio.run(scene())


def test_a_host_signs_no_agreement_so_long_that_an_heirs_word_would_not_fit_in(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    used = len(owner.propose(house.peer, ext={"x": b""})) - SIGNATURE_BYTES - 4
    longest = STATEMENT_BYTES - SUCCESSION_SPARE_BYTES - used - 1  # a longer value has a longer head
    with pytest.raises(RefusedError, match="no succession would fit"):
        house.revising.consider(owner.peer, owner.propose(house.peer, ext={"x": bytes(longest + 1)}))
    made = house.revising.consider(owner.peer, owner.propose(house.peer, ext={"x": bytes(longest)}))
    current = revise_at(house, made, owner.keys.identity, 60)
    keys = begin(owner.home)

    async def scene():
        async with hosted(house, owner) as link:
            link.session.hello = Hello(agreements=(current,))
            await tell_host(link.session, owner.state, keys.heir.succession, keys.heir.identity)
            assert owners_at(house) == {keys.heir.peer}

    asyncio.run(scene())
