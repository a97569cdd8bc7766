"""A host goes on as another identity, in session with an owner that has real keys and packs there (ADR 69)."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import msgspec
import pytest

from agent.heired import HEIR, NAMED, NEXT, RIVAL, STRANGER, WORDS, follower, go_on, met_as, say
from agent.hosted import hosted
from agent.houses import HostHouse, partner
from agent.owner.test_heads import INDEX, chain_of, inventory
from agent.successors import announcing, begin
from agent.successors import follow as tell
from agent.successors import go_on as own_go_on
from agent.watches import watching
from backuppeer.agent.home.deeds import Heard
from backuppeer.agent.home.heir import FormerSelf
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.host.receipting import Countersigning
from backuppeer.agent.owner.testimony import read_losses
from backuppeer.agent.peers.lineage import describe_heirs
from backuppeer.agent.recovery.adoption import adopt_agreements
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.months import recount_months
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ExitCode, PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.receipts import begin_of, open_receipt, propose_receipt
from backuppeer.proof.revisions import Wish, list_parties, revise, succeed
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from backuppeer.wire.auditing import Acked, AckPacks
from backuppeer.wire.messages import GetHead, GetRange, HeadIs, PutHead, Range
from backuppeer.wire.receipts import ProposeReceipt
from backuppeer.wire.succeeding import Follow, Followed
from backuppeer.wire.terms import GetTerms, TermsAre

DATA = bytes(range(256)) * 300
NEW = PeerId(HEIR.public)


def stock(house, owner, **changes):
    """Give the owner two agreements, a pack and a head at the host; return the first."""
    agreement = owner.agree_with(house, ext=NAMED, **changes)
    owner.agree_with(house, number=2, ext=NAMED)

    async def story():
        async with hosted(house, owner) as link:
            await link.put(agreement, DATA)

    asyncio.run(story())
    chain_of(owner).extend(INDEX, inventory())
    for _, signed, by in owner.state.heads_after(owner.keys.repository, 0):
        house.premises.put_head(house.premises.open(), PutHead(agreement=agreement, head=signed, grant=by))
    return agreement


def hosts_of(owner):
    return [host for _, host, _ in owner.state.agreements()]


async def meet(made, link):
    """What an agent does with a session that begins."""
    await made.meet(link.session)
    return await made.go_on(link.session)


def test_an_owner_follows_all_its_agreements_and_everything_is_served_under_the_new_name(house, owner):
    agreement, old = stock(house, owner), house.peer
    house = go_on(house)

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            assert await meet(made, link) is False, "nothing more is said to the old name"
            await link.session.ended.wait()
        assert hosts_of(owner) == [NEW, NEW]
        assert made._reach.asked == [NEW]
        assert [lease.host for lease in house.premises.open().leases.list_all()] == [NEW, NEW]
        assert [signed for _, _, signed in owner.state.agreements()] == [
            lease.signed for lease in house.premises.open().leases.list_all()
        ]
        async with met_as(house, owner) as link:
            assert await meet(made, link) is True
            stored = compute_stored_id(DATA)
            async with link.session.request(GetRange(agreement=agreement, stored=stored, first_leaf=0, leaves=1)) as ch:
                assert (await ch.receive(Range)).pack_bytes == len(DATA)
                assert b"".join([bytes(piece) async for piece in ch.receive_raw(16384)]) == DATA[:16384]
            assert (await link.ask(GetHead(agreement=agreement), HeadIs)).head
            assert (await link.ask(AckPacks(agreement=agreement, packs=(stored,)), Acked)).signed
            assert len((await link.ask(GetTerms(agreement=agreement, after=0), TermsAre)).revisions) == 2
            assert await link.put(agreement, DATA[::-1]) == "sent"
            assert await link.put(agreement, DATA) == "known", "nothing is sent again"

    asyncio.run(story())
    assert (house.heirship.describe(), follower(owner).waiting()) == ([], [])
    assert "goes on as" in describe_heirs(owner.state, follower(owner)._heirs, hosts=hosts_of(owner))[0]
    assert house.heirship.is_needed(), "an owner that is set back knows no other name"
    house.close()


def test_an_owner_that_has_not_heard_is_served_under_the_old_name_and_told_whose_words_said_so(house, owner):
    agreement, old = stock(house, owner), house.peer
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            stored = compute_stored_id(DATA)
            answer = await link.ask(AckPacks(agreement=agreement, packs=(stored,)), Acked)
            assert answer.packs == (stored,)
            assert await link.put(agreement, DATA[::-1]) == "sent"
            assert link.session.hello.succession == say(old)
            assert len(link.session.hello.agreements) == 2

    asyncio.run(story())
    assert house.heirship.may_answer(old, owner.peer)
    assert not house.heirship.may_answer(old, PeerId(RIVAL.public)), "nobody else can ask who it was"
    assert "has not heard of your new identity" in house.heirship.describe()[0]
    house.close()


def test_an_answer_that_was_lost_is_given_again_and_again_the_same(house, owner):
    old = house.peer
    stock(house, owner)
    house = go_on(house)
    proposals = tuple(
        sign_statement(succeed(signed, say(old)), owner.keys.identity) for _, _, signed in owner.state.agreements()
    )

    async def story():
        async with met_as(house, owner, old) as link:
            first = await link.ask(Follow(proposals=proposals), Followed)
            assert await link.ask(Follow(proposals=proposals), Followed) == first
        # The owner never kept it: it follows the next time, by whichever name the host is met.
        assert hosts_of(owner) == [old, old]
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            await meet(made, link)
        assert [signed for _, _, signed in owner.state.agreements()] == list(first.revisions)

    asyncio.run(story())
    house.close()


@pytest.mark.parametrize("step", range(3))
def test_a_host_or_owner_that_dies_between_two_steps_ends_up_with_all_followed(house, owner, step, monkeypatch):
    old = house.peer
    stock(house, owner)
    house = go_on(house)
    left = step

    def dying(act):
        def once(*args):
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return act(*args)

        return once

    async def story():
        with monkeypatch.context() as patch:
            patch.setattr(owner.state, "put_agreement", dying(owner.state.put_agreement))
            async with met_as(house, owner, old) as link:
                with pytest.raises(KilledError) if step < 2 else nullcontext():
                    await follow_once(follower(owner), link)
        made = follower(owner)
        async with met_as(house, owner) as link:  # by now as the heir alone, which it was told is the one
            assert await meet(made, link) is True
        assert hosts_of(owner) == [NEW, NEW]

    asyncio.run(story())
    house.close()


async def follow_once(made, link):
    await made.meet(link.session)
    await made.follow(link.session)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", range(2))
def test_a_host_that_dies_between_two_agreements_signs_the_rest_when_it_is_asked_again(house, owner, step, monkeypatch):
    old = house.peer
    stock(house, owner)
    house = go_on(house)
    proposals = tuple(
        sign_statement(succeed(signed, say(old)), owner.keys.identity) for _, _, signed in owner.state.agreements()
    )
    left = step

    def dying(signed, act=house.premises.cosign):
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return act(signed)

    with monkeypatch.context() as patch:
        patch.setattr(house.premises, "cosign", dying)
        with pytest.raises(KilledError):
            house.heirship.take(owner.peer, Follow(proposals=proposals))
    before = house.identity
    folder, former = house.premises.directory.parent, FormerSelf(SigningKey.from_seed(b"h" * 32), say(old))
    house.close()
    house = HostHouse(folder, b"h", identity=before, former=(former,), authority=WORDS.public)
    assert len(house.heirship.take(owner.peer, Follow(proposals=proposals)).revisions) == 2
    assert {lease.host for lease in house.premises.open().leases.list_all()} == {NEW}
    house.close()


def test_both_sides_go_on_at_the_same_time_and_meet_again(house, owner):
    old = house.peer
    agreement = owner.agree_with(house, ext=NAMED)
    begin(owner.home)
    keys = own_go_on(owner.home)
    house = go_on(house)

    async def story():
        made = follower(owner, keys)
        made._heirs.take(say(old), WORDS.public)  # heard from somebody else
        assert made.waiting() == [NEW]
        async with hosted(house, owner) as link:
            telling = announcing(owner, keys, link)
            assert telling.waiting() == [NEW], "who was succeeded is told nothing"
            await tell(telling, link)
        (lease,) = house.premises.open().leases.list_all()
        assert (lease.owner, lease.host) == (keys.peer, old)
        owner.keys = keys
        async with met_as(house, owner) as link:
            assert await meet(made, link) is True
        (lease,) = house.premises.open().leases.list_all()
        assert (lease.owner, lease.host, lease.terms.revision) == (keys.peer, NEW, 3)
        assert owner.state.agreements() == [(agreement, NEW, lease.signed)]

    asyncio.run(story())
    house.close()


def test_a_succession_by_another_authority_is_not_followed_and_nothing_changes(house, owner):
    old = house.peer
    stock(house, owner)
    house = go_on(house, signed=say(house.peer, by=STRANGER))

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            with pytest.raises(AuthenticationFault):
                made.hear(link.session)
            assert await meet(made, link) is True, "it is still the host that it was"
        assert hosts_of(owner) == [old, old]
        assert made._heirs.heir_of(old) is None

    asyncio.run(story())
    house.close()


def test_an_agreement_that_names_no_words_of_its_host_can_not_follow_until_it_is_renewed(house, owner):
    old = house.peer
    agreement = owner.agree_with(house)
    house = go_on(house)
    assert house.heirship.list_followers() == ((), (owner.peer,))
    assert "can't follow your new identity" in house.heirship.describe()[0]

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            assert await meet(made, link) is True
            assert hosts_of(owner) == [old]
            assert "your agreement does not name its words" in made.describe()[0]
            assert await link.put(agreement, DATA) == "sent", "it is served as it was"
        # `peers renew`: the next revision names them, and is signed by the old name.
        ((_, _, signed),) = owner.state.agreements()
        terms = msgspec.structs.replace(revise(signed, Wish(MIB, 3600, 60)), ext=NAMED)
        named = sign_statement(terms, owner.keys.identity)
        cosigned = house.premises.cosign(named).signed
        owner.state.put_agreement(agreement, old, cosigned)
        async with met_as(house, owner, old) as link:
            assert await meet(made, link) is False
        assert hosts_of(owner) == [NEW]

    asyncio.run(story())
    house.close()


def test_the_copy_of_the_old_home_gets_nothing_once_the_owner_has_heard(house, owner, tmp_path):
    old, thief = house.peer, house.identity
    stock(house, owner)
    before = [signed for _, _, signed in owner.state.agreements()]
    house = go_on(house)

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            await meet(made, link)
        with pytest.raises(PeerUnreachable, match="nothing is sent to"):
            made.check(old)
        made.check(NEW)
        async with met_as(house, owner, old) as link:
            # What it once co-signed is shown again by who has the old identity.
            link.session.hello = type(link.session.hello)(agreements=tuple(before))
            assert await meet(made, link) is False
            adopt_agreements(owner.state, owner.keys, link.session)
        assert hosts_of(owner) == [NEW, NEW], "no agreement goes back to who was succeeded"
        assert thief.public == old

    asyncio.run(story())
    house.close()


def test_of_two_heirs_the_first_stays_gets_no_further_word_and_the_owner_is_alarmed_with_code_12(house, owner):
    old = house.peer
    stock(house, owner)
    house = go_on(house)

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            await meet(made, link)
            link.session.hello = type(link.session.hello)(succession=say(old, RIVAL, generation=3))
        rows = owner.state.agreements()
        owner.state.put_agreement(rows[0][0], old, rows[0][2])  # as if one had not followed yet
        async with met_as(house, owner, old) as link:
            link.session.hello = type(link.session.hello)(succession=say(old, RIVAL, generation=3))
            await made.meet(link.session)
        assert made._heirs.heir_of(old).new == NEW
        assert made._heirs.is_contested(NEW)
        with pytest.raises(PeerUnreachable) as caught:
            made.check(old)
        assert caught.value.exit_code is ExitCode.AUTHENTICATION

    asyncio.run(story())
    house.close()


def test_a_host_that_went_on_twice_is_followed_step_by_step(house, owner):
    old = house.peer
    stock(house, owner)
    first = FormerSelf(house.identity, say(house.peer))
    house = go_on(house)
    house = go_on(house, NEXT, signed=say(NEW, NEXT, generation=3), before=(first,))

    async def story():
        made = follower(owner)
        for name in (old, NEW):
            async with met_as(house, owner, name) as link:
                assert await meet(made, link) is False
        assert hosts_of(owner) == [PeerId(NEXT.public)] * 2
        assert made._heirs.newest(old) == NEXT.public

    asyncio.run(story())
    house.close()


def test_an_owner_that_was_set_back_is_led_on_by_the_old_name(house, owner):
    agreement, old = stock(house, owner), house.peer
    rows = owner.state.agreements()
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            await meet(follower(owner), link)
        ((_, _, newest), _) = owner.state.agreements()
        later = sign_statement(revise(newest, Wish(MIB, 3600, 60)), owner.keys.identity)
        house.premises.cosign(later)
        for row in rows:
            owner.state.put_agreement(*row)
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            await meet(made, link)
        held = {a: signed for a, _, signed in owner.state.agreements()}
        assert peek_statement(Agreement, held[agreement]).host == NEW

    asyncio.run(story())
    house.close()


def test_a_request_that_waits_waits_on_at_the_heir_and_a_notice_of_the_old_name_counts_no_more(house, owner):
    agreement, old = stock(house, owner), house.peer
    notice = sign_notice(agreement, house.identity, last=0, time_ms=5)
    owner.state.deeds.put_notice(agreement, Heard(peek_statement(Notice, notice), notice, 9, told=True))
    owner.state.put_request(
        RequestRecord(
            request="77", direction=Direction.OUT, peer=old, size_bytes=5, term_s=6, lock_s=7,
            state=RequestState.WAITING, since_ms=1, revises=agreement,
        )
    )  # fmt: skip
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            await meet(follower(owner), link)

    asyncio.run(story())
    assert [record.peer for record in owner.state.requests()] == [NEW]
    assert owner.state.deeds.ending(agreement) is None, "whoever had the identity may have given it"
    house.close()


def test_what_is_no_succession_of_this_host_is_refused_and_a_stale_proposal_told(house, owner):
    old = house.peer
    stock(house, owner)
    house = go_on(house)
    (_, _, signed), _ = owner.state.agreements()

    def propose(succession):
        return Follow(proposals=(sign_statement(succeed(signed, succession), owner.keys.identity),))

    with pytest.raises(RefusedError, match="no succession of this host"):
        house.heirship.take(owner.peer, propose(say(old, RIVAL)))
    with pytest.raises(AuthenticationFault):
        house.heirship.take(PeerId(RIVAL.public), propose(say(old)))
    house.premises.cosign(sign_statement(revise(signed, Wish(MIB, 3600, 60)), owner.keys.identity))
    with pytest.raises(RefusedError, match="revision 2"):
        house.heirship.take(owner.peer, propose(say(old)))
    house.close()


def test_backup_audit_and_restore_go_on_and_nothing_the_host_signed_before_is_held_against_it(
    house, owner, tree, tmp_path
):
    async def story():
        async with watching(owner, tmp_path / "watch", house, ext=NAMED) as watch:
            first = await watch.back_up(tree())
            before = await watch.audit(house)
            assert (before.error, before.faults, before.shown) == (None, [], before.asked)
            old, heir = house.peer, go_on(house)
            party = SimpleNamespace(state=watch.state, keys=owner.keys, peer=owner.peer)
            made = follower(party, lines=watch.evidence.lines)
            async with met_as(heir, owner, old) as link:
                assert await meet(made, link) is False
            async with met_as(heir, owner) as link:
                watch.sight.sessions[heir.peer] = link.session
                after = await watch.audit(heir)
                assert (after.error, after.faults, after.shown) == (None, [], after.asked)
                assert after.asked
                assert watch.vault.heads.countersigned(watch.partner(heir)) is not None
                second = await watch.back_up(tree())
                assert second.new_bytes < 2000
                for snapshot, files in ((first.snapshot, 1), (second.snapshot, 2)):
                    assert (await watch.restore(snapshot, tmp_path / snapshot)).files == files
            assert watch.faults == []
            days = {count.peer for count in watch.vault.standing.condense(now_ms=watch.days.now_ms(), days=9)}
            assert days <= {old, heir.peer}
            assert watch.vault.standing.line(heir.peer) == (heir.peer, old), "its past counts on"
            heir.close()

    asyncio.run(story())


def test_a_loss_that_the_old_name_reported_is_read_as_its_word_under_the_new_one(house, owner):
    agreement, old = stock(house, owner), house.peer
    stored = compute_stored_id(DATA)
    next(house.premises.directory.rglob(stored.hex())).unlink()
    store = house.premises.open()
    store.losses.suspect(agreement, [stored])
    assert store.losses.settle(agreement, signer=house.identity, now_ms=house.clock.now_ms()) == [stored]
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            await meet(follower(owner), link)
        async with met_as(house, owner) as link:
            host = partner(house, agreement, link.session)
            losses = [loss async for loss in read_losses(host, 0, SystemClock(), owner.state.deeds)]
        assert [loss.packs for loss in losses] == [(stored,)]

    asyncio.run(story())
    house.close()


def test_months_that_both_signed_count_on_and_the_next_follows_the_last_one(house, owner, tmp_path):
    agreement, old = stock(house, owner), house.peer
    month = {"size_bytes": 1, "kept": True, "private": False}
    shelf = Shelf(tmp_path / "receipts.db")

    def part():
        gaps = Gaps(shelf, house.state, house.identity, house.clock)
        return Countersigning(house.premises, house.clock, shelf=shelf, gaps=gaps)

    terms = house.premises.open().leases.get(agreement).terms
    house.clock.ms = begin_of(terms.start_ms, 2)
    proposed = propose_receipt(terms, None, None, owner.keys.identity, number=1, **month)
    first = part().sign(owner.peer, ProposeReceipt(agreement=agreement, signed=proposed))
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            await meet(follower(owner), link)

    asyncio.run(story())
    lease = house.premises.open().leases.get(agreement)
    house.clock.ms = begin_of(terms.start_ms, 3)
    proposed = propose_receipt(lease.terms, open_receipt(first), None, owner.keys.identity, number=2, **month)
    asked = ProposeReceipt(agreement=agreement, signed=proposed, before=first)
    second = open_receipt(part().sign(owner.peer, asked)).said
    assert (second.host, second.since_ms) == (NEW, terms.start_ms)
    before = house.premises.open().leases.names(lease)
    months = recount_months(
        lease.terms, shelf, house.clock.ms, keep=Keep.HOST, judge=lambda _: None, before=before
    )  # fmt: skip
    assert (len(months.signed), months.lacking) == (2, ())
    assert list_parties(owner.state.deeds.after(agreement, 0)) == {owner.peer, old, NEW}
    shelf.close()
    house.close()


def test_who_is_known_by_its_words_in_the_other_direction_alone_is_read_from_until_the_agreement_names_them(
    house, owner
):
    old = house.peer
    agreement = owner.agree_with(house)
    house = go_on(house)

    async def story():
        made = follower(owner)
        made.find_authority = lambda _: WORDS.public  # of an agreement in which it is the owner
        async with met_as(house, owner, old) as link:
            assert await meet(made, link) is True
            assert link.session.is_open
        assert made._heirs.heir_of(old).new == NEW
        made.check(old)
        assert (made.is_left(old), made.waiting()) == (False, []), "its packs are there, and nowhere else"
        assert "lets you follow" in made.describe()[0]
        ((_, _, signed),) = owner.state.agreements()
        named = msgspec.structs.replace(revise(signed, Wish(MIB, 3600, 60)), ext=NAMED)
        cosigned = house.premises.cosign(sign_statement(named, owner.keys.identity)).signed
        owner.state.put_agreement(agreement, old, cosigned)
        with pytest.raises(PeerUnreachable):
            made.check(old)
        async with met_as(house, owner) as link:
            assert await meet(made, link) is True
        assert hosts_of(owner) == [NEW]

    asyncio.run(story())
    house.close()


def test_a_host_that_lost_the_last_revision_gets_it_back_and_goes_on_from_there(house, owner):
    old = house.peer
    agreement = owner.agree_with(house, ext=NAMED)
    ((_, _, signed),) = owner.state.agreements()
    later = sign_statement(revise(signed, Wish(MIB, 3600, 60)), owner.keys.identity, house.identity)
    owner.state.put_agreement(agreement, old, later)
    house = go_on(house)

    async def story():
        async with met_as(house, owner, old) as link:
            await meet(follower(owner), link)
        ((_, host, held),) = owner.state.agreements()
        assert (host, peek_statement(Agreement, held).revision) == (NEW, 3)

    asyncio.run(story())
    house.close()


def test_two_hosts_in_league_do_not_become_one(house, other, owner):
    old = house.peer
    owner.agree_with(house, ext=NAMED)
    owner.agree_with(other, number=2)
    house = go_on(house, other.identity, signed=say(old, other.identity))

    async def story():
        made = follower(owner)
        async with met_as(house, owner, old) as link:
            with pytest.raises(ProtocolViolation, match="known as another peer"):
                made.hear(link.session)
            assert await meet(made, link) is True
        assert (hosts_of(owner), made.is_left(old)) == ([old, other.peer], False)
        made._heirs.take(say(old, other.identity), WORDS.public)  # by way of others, who have no agreement with it
        async with met_as(house, owner, old) as link:
            assert await meet(made, link) is True
        assert (hosts_of(owner), made.is_left(old)) == ([old, other.peer], False)

    asyncio.run(story())
    house.close()
