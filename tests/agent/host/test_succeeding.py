"""An owner goes on as another identity, in session with a host that serves its real store (ADR 69)."""

import asyncio

import msgspec
import pytest

from agent.hosted import hosted
from agent.houses import HostHouse, offer
from agent.owner.test_heads import INDEX, chain_of, inventory
from backuppeer.agent.host.receipting import Countersigning
from backuppeer.agent.peers.lineage import describe_heirs
from backuppeer.agent.peers.names import resolve_peer
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import AuthenticationFault, BackupPeerError, NotFoundError, ProtocolViolation, RefusedError
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.receipts import begin_of, check_pair, open_receipt, propose_receipt
from backuppeer.proof.revisions import Wish, list_parties, revise, succeed
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.wire.auditing import AckPacks
from backuppeer.wire.messages import (
    GetHead,
    GetRange,
    GetUsage,
    HeadIs,
    ListPacks,
    ProposeAgreement,
    PutHead,
    Range,
    Refused,
    Usage,
)
from backuppeer.wire.receipts import GetMyReceipts, ProposeReceipt
from backuppeer.wire.succeeding import Succeed, Succeeded
from backuppeer.wire.terms import GetTerms, GiveNotice, TermsAre

MASTER = b"o" * 32
"""What the words of the fixture `owner` stand for."""
AUTHORITY = derive_authority(MASTER)
HEIR, RIVAL, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"n", b"r", b"s"))
DATA = bytes(range(256)) * 300
SUCCEEDED, STALE, NOT_FOUND, POLICY = 11, 7, 5, 1


class Keys:
    """The identity of a home, for `hosted`."""

    def __init__(self, identity):
        self.identity = identity


class Machine:
    """Who dials as an identity."""

    def __init__(self, identity):
        self.keys, self.peer = Keys(identity), PeerId(identity.public)


def say(old, new=HEIR, *, by=AUTHORITY, generation=2, time_ms=7):
    said = Succession(
        authority=by.public, old=PeerId(old), new=PeerId(new.public), generation=generation, time_ms=time_ms
    )
    return sign_statement(said, by, new)


def word(house, owner, *, new=HEIR, **fields):
    """Return Succeed with a proposal for each agreement of an owner."""
    succession = say(owner.peer, new, **fields)
    leases = house.premises.open().leases.list_by_owner(owner.peer)
    proposals = tuple(sign_statement(succeed(lease.signed, succession), new) for lease in leases)
    return Succeed(succession=succession, proposals=proposals)


async def refused(link, message) -> Refused:
    """Return how a request is refused."""
    async with link.session.request(message) as channel:
        answer = await channel.receive_any()
    assert isinstance(answer, Refused), answer
    return answer


def play(house, owner, story):
    """Let a machine talk with the host."""

    async def run():
        async with hosted(house, owner) as link:
            return await story(link)

    return asyncio.run(run())


def tell(house, machine, message):
    """Return the host's answer to Succeed."""
    return play(house, machine, lambda link: link.ask(message, Succeeded))


@pytest.fixture
def stocked(house, owner):
    return stock(house, owner)


def stock(house, owner):
    """Give the owner two agreements, a pack and a head at the host, and return the first."""
    agreement = owner.agree_with(house)
    owner.agree_with(house, number=2)
    play(house, owner, lambda link: link.put(agreement, DATA))
    chain_of(owner).extend(INDEX, inventory())
    for _, signed, by in owner.state.heads_after(owner.keys.repository, 0):
        house.premises.put_head(house.premises.open(), PutHead(agreement=agreement, head=signed, grant=by))
    return agreement


def leases_of(house, identity):
    return house.premises.open().leases.list_by_owner(PeerId(identity.public))


def test_the_heir_has_all_that_the_old_identity_had_and_packs_are_served_to_it(house, owner, stocked):
    asked = word(house, owner)
    answer = tell(house, owner, asked)
    assert answer.succession == asked.succession
    assert [peek_statement(Agreement, one).owner for one in answer.revisions] == [HEIR.public] * 2
    assert [lease.signed for lease in leases_of(house, HEIR)] == list(answer.revisions)

    async def story(link):
        read = GetRange(agreement=stocked, stored=compute_stored_id(DATA), first_leaf=0, leaves=1)
        async with link.session.request(read) as channel:
            assert (await channel.receive(Range)).pack_bytes == len(DATA)
            assert b"".join([bytes(piece) async for piece in channel.receive_raw(16384)]) == DATA[:16384]
        assert (await link.ask(GetUsage(agreement=stocked), Usage)).packs == 1
        assert (await link.ask(GetHead(agreement=stocked), HeadIs)).head
        assert len((await link.ask(GetTerms(agreement=stocked, after=0), TermsAre)).revisions) == 2
        assert await link.put(stocked, DATA[::-1]) == "sent"
        assert link.far.faults == []

    play(house, Machine(HEIR), story)


def test_the_old_identity_gets_nothing_but_the_succession(house, owner, stocked):
    asked = word(house, owner)
    tell(house, owner, asked)
    stored = compute_stored_id(DATA)
    notice = sign_notice(stocked, owner.keys.identity, last=0, time_ms=1)
    further = owner.propose(house.peer, number=9)

    async def story(link):
        for message in (
            GetRange(agreement=stocked, stored=stored, first_leaf=0, leaves=1),
            GetUsage(agreement=stocked),
            ListPacks(agreement=stocked),
            GetHead(agreement=stocked),
            GetTerms(agreement=stocked),
            AckPacks(agreement=stocked, packs=(stored,)),
            GiveNotice(agreement=stocked, signed=notice),
            ProposeAgreement(signed=further),
        ):
            answer = await refused(link, message)
            assert (answer.code, "another identity goes on" in answer.message) == (SUCCEEDED, True)
        with pytest.raises(BackupPeerError, match="another identity"):
            await link.put(stocked, b"z" * 9000)
        assert await link.ask(asked, Succeeded), "but the succession, as often as it asks"

    play(house, owner, story)
    assert house.succeeding.hello(owner.peer) == asked.succession
    assert house.succeeding.hello(PeerId(HEIR.public)) == b""


def test_the_same_again_gets_the_same_whoever_of_the_two_says_it_and_whenever_it_was_signed(house, owner, stocked):
    first = tell(house, owner, word(house, owner))
    again = Succeed(succession=say(owner.peer, time_ms=99))
    assert tell(house, owner, again) == first
    assert tell(house, Machine(HEIR), again) == first
    # Also when the heir has changed the terms since.
    (lease, _) = leases_of(house, HEIR)
    house.premises.agree(sign_statement(revise(lease.signed, Wish(MIB, 3600, 60)), HEIR, house.identity))
    assert tell(house, owner, again) == first


@pytest.mark.parametrize("step", range(3))
def test_a_host_that_dies_between_two_steps_does_the_rest_when_it_is_asked_again(house, owner, step, monkeypatch):
    agreement = stock(house, owner)
    asked = word(house, owner)
    left = step

    def dying(act):
        def once(*args):
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return act(*args)

        return once

    with monkeypatch.context() as patch:
        patch.setattr(house.heirs, "take", dying(house.heirs.take))
        patch.setattr(house.premises, "agree", dying(house.premises.agree))
        with pytest.raises(KilledError):
            house.succeeding.take(owner.peer, asked)
    folder = house.premises.directory.parent
    house.close()
    house = HostHouse(folder, b"h", identity=house.identity)
    try:
        answer = tell(house, owner, asked)
        assert len(answer.revisions) == 2
        assert tell(house, owner, asked) == answer
        assert [lease.signed for lease in leases_of(house, HEIR)] == list(answer.revisions)
        assert leases_of(house, owner.keys.identity) == []
        assert house.premises.open().usage(agreement).packs == 1
    finally:
        house.close()


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_foreign_authority_is_a_broken_protocol_and_changes_nothing(house, owner, stocked):
    before = leases_of(house, owner.keys.identity)
    with pytest.raises(AuthenticationFault):
        house.succeeding.take(owner.peer, word(house, owner, by=STRANGER))
    assert leases_of(house, owner.keys.identity) == before
    assert house.heirs.heir_of(owner.peer) is None


def test_an_agreement_left_out_or_revised_since_is_stale_and_nothing_is_changed(house, owner, stocked):
    asked = word(house, owner)
    one, other = leases_of(house, owner.keys.identity)
    house.premises.agree(sign_statement(revise(other.signed, Wish(MIB, 3600, 60)), owner.keys.identity, house.identity))

    async def story(link):
        for message in (asked, Succeed(succession=asked.succession, proposals=asked.proposals[:1])):
            assert (await refused(link, message)).code == STALE
        assert (await link.ask(GetUsage(agreement=stocked), Usage)).packs == 1

    play(house, owner, story)
    assert house.heirs.heir_of(owner.peer) is None
    assert one in leases_of(house, owner.keys.identity)


def test_a_proposal_that_changes_more_or_is_not_the_heirs_is_refused(house, owner, stocked):
    asked = word(house, owner)
    more = msgspec.structs.replace(peek_statement(Agreement, asked.proposals[0]), size_bytes=1)
    for proposals in (
        (sign_statement(more, HEIR), asked.proposals[1]),
        (b"x", asked.proposals[1]),
        word(house, owner, new=RIVAL).proposals,
    ):
        with pytest.raises((ProtocolViolation, AuthenticationFault)):
            house.succeeding.take(owner.peer, Succeed(succession=asked.succession, proposals=proposals))
    assert house.heirs.heir_of(owner.peer) is None


def test_nobody_else_says_it_and_who_has_nothing_here_is_not_found(house, owner, stocked):
    asked = word(house, owner)
    with pytest.raises(RefusedError, match="one of the two"):
        house.succeeding.take(PeerId(STRANGER.public), asked)
    with pytest.raises(NotFoundError):
        house.succeeding.take(PeerId(STRANGER.public), Succeed(succession=say(STRANGER.public)))


def test_no_revision_is_read_for_a_succession_before_its_signatures_are_checked(house, owner, stocked, monkeypatch):
    asked, leases = word(house, owner), house.premises.open().leases
    read = []
    monkeypatch.setattr(
        leases, "history", lambda agreement, act=leases.history: read.append(agreement) or act(agreement)
    )
    forged = asked.succession[:-1] + bytes([asked.succession[-1] ^ 1])
    with pytest.raises(AuthenticationFault):
        house.succeeding.take(owner.peer, Succeed(succession=forged, proposals=asked.proposals))
    stranger, victim = PeerId(STRANGER.public), owner.keys.identity
    half = say(stranger, victim, by=STRANGER)[:-1] + b"?"
    with pytest.raises(NotFoundError):
        house.succeeding.take(stranger, Succeed(succession=half))
    assert read == []
    first = house.succeeding.take(owner.peer, asked)
    assert house.succeeding.take(owner.peer, asked) == first
    assert len(read) == 2, "one for each agreement that went over already"


@pytest.mark.parametrize("generation", [2, 3])
def test_of_two_heirs_the_first_stays_and_only_reads_and_the_host_is_alarmed(house, owner, stocked, generation):
    first = tell(house, owner, word(house, owner))
    rival = Succeed(succession=say(owner.peer, RIVAL, generation=generation))

    async def rivals(link):
        answer = await refused(link, rival)
        assert (answer.code, "two heirs" in answer.message) == (SUCCEEDED, True)

    async def heirs(link):
        assert (await link.ask(GetUsage(agreement=stocked), Usage)).packs == 1
        assert (await refused(link, GiveNotice(agreement=stocked, signed=b"s"))).code == SUCCEEDED
        with pytest.raises(BackupPeerError, match="two heirs"):
            await link.put(stocked, b"z" * 9000)
        assert await link.ask(Succeed(succession=first.succession), Succeeded) == first

    play(house, owner, rivals)
    play(house, Machine(RIVAL), rivals)
    play(house, Machine(HEIR), heirs)
    assert house.heirs.heir_of(owner.peer).rival == RIVAL.public
    further = word(house, Machine(HEIR), new=STRANGER, generation=4)

    async def going_on(link):
        answer = await refused(link, further)
        assert (answer.code, "two heirs" in answer.message) == (SUCCEEDED, True)

    play(house, Machine(HEIR), going_on)
    assert len(leases_of(house, HEIR)) == 2, "nobody goes on out of the doubt"
    house.state.successions.settle(PeerId(HEIR.public), house.clock.now_ms())
    assert len(tell(house, Machine(HEIR), further).revisions) == 2


def test_the_heir_goes_on_as_another_and_each_identity_learns_of_the_next(house, owner, stocked):
    first = tell(house, owner, word(house, owner))
    second = tell(house, Machine(HEIR), word(house, Machine(HEIR), new=RIVAL, generation=3))
    assert tell(house, owner, Succeed(succession=first.succession)) == first
    assert house.succeeding.hello(owner.peer) == first.succession
    assert house.succeeding.hello(PeerId(HEIR.public)) == second.succession
    assert len(leases_of(house, RIVAL)) == 2
    assert house.premises.open().heads.get(stocked).head.number == 1


def test_the_old_identity_is_let_go_of_with_the_heir(house, owner):
    agreement = owner.agree_with(house)
    tell(house, owner, word(house, owner))
    store = house.premises.open()
    assert {owner.peer, HEIR.public} <= house.premises.owners()
    store.notices.give(agreement, sign_notice(agreement, HEIR, last=0, time_ms=1))
    store.notices.hasten(agreement)
    house.sweeping.look()
    assert not {owner.peer, HEIR.public} & house.premises.owners()


@pytest.mark.parametrize("alias", ["", "alice b"])
def test_the_hosts_person_is_told_who_goes_on_by_its_name_or_else_by_the_id_of_before(house, owner, alias):
    owner.agree_with(house)
    house.state.call(owner.peer, alias, 1)
    tell(house, owner, word(house, owner))
    [note] = describe_heirs(house.state, house.heirs, house.premises.owners())
    old, new = shorten_peer_id(owner.peer), shorten_peer_id(PeerId(HEIR.public))
    assert note.startswith(f"{alias or old} goes on as {new}, as its 24 words say")
    assert note.endswith("`backup-peer peers verify 'alice b'`" if alias else f"`backup-peer peers verify {new}`")
    assert resolve_peer(house.state, alias or new) == HEIR.public


def test_an_agreement_that_is_over_goes_over_to_nobody_and_is_erased_as_it_was_asked_for(house, owner):
    one, other = owner.agree_with(house), owner.agree_with(house, number=2)
    store = house.premises.open()
    store.notices.give(one, sign_notice(one, owner.keys.identity, last=0, time_ms=8))
    store.notices.hasten(one)
    assert len(tell(house, owner, word(house, owner)).revisions) == 1
    assert [lease.agreement for lease in leases_of(house, HEIR)] == [other]
    assert store.notices.list_over() == [one]
    house.sweeping.look()
    assert [lease.agreement for lease in store.leases.list_all()] == [other]


def test_who_has_nothing_but_what_is_over_has_nothing(house, owner):
    agreement = owner.agree_with(house)
    store = house.premises.open()
    store.notices.give(agreement, sign_notice(agreement, owner.keys.identity, last=0, time_ms=8))
    store.notices.hasten(agreement)
    with pytest.raises(NotFoundError):
        house.succeeding.take(owner.peer, word(house, owner))
    assert house.heirs.heir_of(owner.peer) is None


def countersigning(house, file):
    """A host's part in receipts, with a shelf of its own."""
    shelf = Shelf(file)
    made = Countersigning(
        house.premises,
        house.clock,
        shelf=shelf,
        gaps=Gaps(shelf, house.state, house.identity, house.clock),
    )
    made.line_of = house.heirs.line_of
    return made, shelf


def test_receipts_go_on_under_the_heir_and_those_of_before_are_its_own(house, owner, stocked, tmp_path):
    part, shelf = countersigning(house, tmp_path / "one.db")
    month = {"size_bytes": 1, "kept": True, "private": False}
    terms = house.premises.open().leases.get(stocked).terms
    house.clock.ms = begin_of(terms.start_ms, 2)
    proposed = propose_receipt(terms, None, None, owner.keys.identity, number=1, **month)
    first = part.sign(owner.peer, ProposeReceipt(agreement=stocked, signed=proposed))
    heir = PeerId(HEIR.public)
    house.succeeding.take(owner.peer, word(house, owner))
    assert part.tell(heir, GetMyReceipts(agreement=stocked)).receipts == (first,)
    house.clock.ms = begin_of(terms.start_ms, 3)
    terms = house.premises.open().leases.get(stocked).terms
    proposed = propose_receipt(terms, open_receipt(first), None, HEIR, number=2, **month)
    asked = ProposeReceipt(agreement=stocked, signed=proposed, before=first)
    second = part.sign(heir, asked)
    assert open_receipt(second).said.since_ms == terms.start_ms
    assert part.tell(heir, GetMyReceipts(agreement=stocked)).receipts == (first, second)
    shelf.close()
    # A host that lost its receipts takes back the one of the identity before.
    part, shelf = countersigning(house, tmp_path / "two.db")
    assert part.sign(heir, asked) == second
    assert part.tell(heir, GetMyReceipts(agreement=stocked)).receipts == (first, second)
    shelf.close()


def test_a_receipt_of_who_never_was_the_owner_is_no_receipt_of_the_agreement(house, owner, stocked):
    terms = house.premises.open().leases.get(stocked).terms
    foreign = msgspec.structs.replace(terms, owner=STRANGER.public)
    proposed = propose_receipt(foreign, None, None, STRANGER, number=1, size_bytes=1, kept=True, private=False)
    shown = open_receipt(proposed)
    with pytest.raises(ProtocolViolation):
        check_pair(shown.said, terms, [HEIR.public])
    check_pair(shown.said, terms, [STRANGER.public])
    assert list_parties([*house.premises.open().leases.history(stocked)]) == {owner.peer, house.peer}


def test_who_owned_an_agreement_is_known_from_what_is_left_of_its_revisions(house, owner, stocked):
    (revision, _) = tell(house, owner, word(house, owner)).revisions
    assert list_parties([revision]) == {owner.peer, HEIR.public, house.peer}


def test_the_hosts_person_is_told_until_it_compared_and_what_the_old_identity_waits_for_is_turned_down(
    house, owner, stocked
):
    wish = Wish(8 * MIB, 3600, 60)
    house.requests.consider_knock(owner.knock(house, wish), offer())
    asked = word(house, owner)
    tell(house, owner, asked)
    tell(house, owner, asked)
    (note,) = describe_heirs(house.state, house.heirs, house.premises.owners())
    assert "Compare the words anew: `backup-peer peers verify" in note
    house.state.befriend(PeerId(HEIR.public), 1)
    assert describe_heirs(house.state, house.heirs, house.premises.owners()) == []
    assert house.requests.open_request(owner.peer) is None
    with pytest.raises(RefusedError, match="another identity"):
        house.succeeding.check_wish(owner.peer)
    house.succeeding.check_wish(PeerId(HEIR.public))
