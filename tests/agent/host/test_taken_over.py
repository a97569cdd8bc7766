"""After a take-over: a host follows the machine that writes, and no more the one that was taken over."""

import asyncio
from functools import partial

import pytest

from agent.hosted import Link, hosted
from agent.houses import WISH, FixedReach, HostHouse, OwnerHouse, head_of
from agent.owner.test_heads import INDEX, chain_of, inventory
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.identity_alarms import Sort, list_alarms
from backuppeer.agent.home.keyring import grant_writer, recover_identity
from backuppeer.agent.host.noting import Noting
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.misbinding import explain_move, raise_alarm
from backuppeer.agent.recovery.slots import Slots
from backuppeer.clock import SystemClock
from backuppeer.crypto.recovery import derive_slot
from backuppeer.errors import BackupPeerError, RefusedError
from backuppeer.ids import AgreementId
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.revisions import Wish, revise
from backuppeer.proof.slots import SlotGift
from backuppeer.proof.statements import Agreement, sign_beside, sign_statement
from backuppeer.wire.messages import Agreed, HeadStored, ProposeAgreement, PutHead
from backuppeer.wire.recovering import GiveSlot, SlotKept
from backuppeer.wire.terms import GiveNotice

MASTER = b"o" * 32
"""What the words of the fixture `owner` stand for."""
LESS = Wish(WISH[0] // 2, *WISH[1:])


async def quiet(state, text):
    del state, text


@pytest.fixture
def heir(owner, tmp_path):
    """A second machine of the same words, with a grant of epoch 2."""
    home = Home(tmp_path / "heir")
    recover_identity(home, MASTER)
    grant_writer(home, MASTER, repository=owner.keys.repository, epoch=2, clock=SystemClock())
    made = OwnerHouse(home.path, MASTER[:1])
    yield made
    made.close()


class Scene:
    """A host, and one of its owner's machines in session with it."""

    def __init__(self, house: HostHouse, machine: OwnerHouse, agreement: AgreementId, link: Link, noting: Noting):
        self.house, self.machine, self.agreement, self.link, self.noting = house, machine, agreement, link, noting
        reach = FixedReach(link.session)
        self.revising = Revising(machine.state, machine.keys, SystemClock(), reach=reach, blame=self.blame)
        self.ending = Ending(machine.state, machine.keys, SystemClock(), reach=reach)
        self.slots = Slots(machine.state, machine.keys, SystemClock())

    @staticmethod
    def blame(peer, error):
        raise AssertionError((peer, error))

    @property
    def lease(self):
        return self.house.premises.open().leases.get(self.agreement)

    @property
    def slot(self):
        return self.house.state.setting(f"note.slot.{self.agreement.hex()}")

    def gift(self, number, device, **changes):
        """What a machine would hand out that signs with `device`."""
        slot = derive_slot(self.machine.keys.working, number)
        given = {"agreement": self.agreement, "seed": slot.seed, "key": slot.opener.public}
        said = SlotGift(**{**given, "servers": [], "time_ms": self.machine.clock.now_ms(), **changes})
        return GiveSlot(**given, signed=sign_statement(said, device))


def play(house, machine, agreement, story):
    async def run():
        noting = Noting(house.state, house.premises, SystemClock(), binding=lambda _: b"")
        async with hosted(house, machine, keep_slot=noting.keep) as link:
            await story(Scene(house, machine, agreement, link, noting))

    asyncio.run(run())


def take_over(heir, owner, house, agreement):
    """The second machine knows the agreement, and leaves a head of its epoch."""
    for row in owner.state.agreements():
        heir.state.put_agreement(*row)
    chain_of(heir).extend(INDEX, inventory())
    for _, signed, by in heir.state.heads_after(heir.keys.repository, 0):
        house.premises.put_head(house.premises.open(), PutHead(agreement=agreement, head=signed, grant=by))
    assert head_of(house).epoch == 2


def test_the_new_machine_changes_terms_ends_and_hands_out_slots_as_the_first_did(house, owner, heir):
    agreement = owner.agree_with(house)

    async def by_the_first(scene):
        assert (await scene.revising.change(house.peer, lambda _: LESS, quiet, wait_s=5)).revision == 2
        await scene.slots.hand(scene.link.session)
        assert scene.slot is not None

    async def by_the_heir(scene):
        smaller = LESS._replace(size_bytes=LESS.size_bytes // 2)
        assert (await scene.revising.change(house.peer, lambda _: smaller, quiet, wait_s=5)).revision == 3
        first = scene.slot
        await scene.slots.hand(scene.link.session)
        assert scene.slot == first, "the same slot"
        assert isinstance(await scene.link.ask(scene.gift(7, heir.keys.device), SlotKept), SlotKept)
        assert scene.slot != first
        assert (await scene.ending.end(house.peer)).told
        assert (await scene.ending.take_back(house.peer)).told
        heir.repository.close()

    play(house, owner, agreement, by_the_first)
    take_over(heir, owner, house, agreement)
    play(house, heir, agreement, by_the_heir)


def test_the_machine_that_was_taken_over_changes_nothing_with_all_keys_that_it_has(house, owner, heir):
    agreement = owner.agree_with(house)
    take_over(heir, owner, house, agreement)

    async def story(scene):
        ask, before = scene.link.ask, scene.lease.signed
        proposal = sign_statement(revise(before, LESS), owner.keys.identity)
        notice = sign_notice(agreement, owner.keys.identity, last=0, time_ms=1)
        further = owner.propose(house.peer, number=9)
        slot = derive_slot(owner.keys.working, 3)
        asked = [
            ProposeAgreement(signed=proposal),
            ProposeAgreement(signed=further),
            GiveNotice(agreement=agreement, signed=notice),
            GiveSlot(agreement=agreement, seed=slot.seed, key=slot.opener.public),
        ]
        for message in asked:
            with pytest.raises(RefusedError, match="another machine of this owner"):
                await ask(message, Agreed)
        assert (scene.lease.signed, scene.slot, scene.ending.is_ended_by_us(house.peer)) == (before, None, False)

    async def forged(scene):
        proposal = sign_statement(revise(scene.lease.signed, LESS), owner.keys.identity)
        notice = sign_notice(agreement, owner.keys.identity, last=0, time_ms=1)
        device = owner.keys.device
        kinds = [
            ProposeAgreement(signed=proposal, device_sig=sign_beside(Agreement, proposal, device)),
            GiveNotice(agreement=agreement, signed=notice, device_sig=sign_beside(Notice, notice, device)),
            scene.gift(3, device),
        ]
        for message in kinds:
            with pytest.raises(RefusedError, match="another machine of this owner"):
                await scene.link.ask(message, Agreed)
        assert (scene.lease.terms.revision, scene.slot) == (1, None)
        assert house.premises.open().notices.left_s(agreement) is None
        assert not scene.link.session.ended.is_set(), "it may be the next to take over, before its first head"

    play(house, owner, agreement, story)
    play(house, owner, agreement, forged)


def test_a_home_that_knows_itself_taken_over_asks_without_its_device_and_keeps_its_session(house, owner, heir):
    agreement = owner.agree_with(house)
    take_over(heir, owner, house, agreement)

    async def story(scene):
        scene.revising._writer.see(heir.keys.grant)
        await scene.slots.hand(scene.link.session)
        for change in (
            scene.revising.change(house.peer, lambda _: LESS, quiet, wait_s=5),
            scene.ending.end(house.peer),
        ):
            with pytest.raises(RefusedError, match="another machine of this owner"):
                await change
        assert scene.slot is None
        assert not scene.link.session.ended.is_set(), "it broke no protocol, and can restore as before"

    play(house, owner, agreement, story)


def test_a_slot_that_the_writing_device_gave_before_is_not_brought_back_by_whoever_kept_it(house, owner, heir):
    agreement = owner.agree_with(house)
    take_over(heir, owner, house, agreement)

    async def story(scene):
        old = scene.gift(1, heir.keys.device, time_ms=house.clock.now_ms())
        new = scene.gift(2, heir.keys.device, time_ms=house.clock.now_ms() + 1)
        for given in (old, new):
            await scene.link.ask(given, SlotKept)
        with pytest.raises(RefusedError, match="another slot was given later"):
            await scene.link.ask(old, Agreed)
        await scene.link.ask(new, SlotKept)  # again, as in each session
        wrong = scene.gift(4, heir.keys.device, seed=old.seed)
        with pytest.raises(BackupPeerError):
            await scene.link.ask(wrong, Agreed)
        heir.repository.close()

    play(house, heir, agreement, story)


def test_before_any_take_over_nothing_more_than_the_identity_is_asked_for(house, owner):
    agreement = owner.agree_with(house)

    async def story(scene):
        chain_of(owner).extend(INDEX, inventory())
        for _, signed, by in owner.state.heads_after(owner.keys.repository, 0):
            house.premises.put_head(house.premises.open(), PutHead(agreement=agreement, head=signed, grant=by))
        slot = derive_slot(owner.keys.working, 3)
        gift = GiveSlot(agreement=agreement, seed=slot.seed, key=slot.opener.public)
        assert isinstance(await scene.link.ask(gift, SlotKept), SlotKept)
        proposal = sign_statement(revise(scene.lease.signed, LESS), owner.keys.identity)
        await scene.link.ask(ProposeAgreement(signed=proposal), Agreed)
        assert scene.lease.terms.revision == 2

    play(house, owner, agreement, story)


def test_a_take_over_explains_to_the_host_s_person_why_the_owner_answers_from_another_machine(house, owner, heir):
    agreement = owner.agree_with(house)
    raise_alarm(house.state, owner.peer, Sort.MOVED, now_ms=1)
    chain_of(owner).extend(INDEX, inventory())
    for row in owner.state.agreements():
        heir.state.put_agreement(*row)
    for _ in range(2):
        chain_of(heir).extend(INDEX, inventory())

    async def put(machine, after=0):
        honest = Serving(house.premises, house.revising.consider, house.standing.blame, house.standing.note_deed)
        honest.answering.on_taken_over = partial(explain_move, house.state)
        async with hosted(house, machine, serve=honest.serve) as link:
            for _, head, grant in machine.state.heads_after(machine.keys.repository, after):
                await link.ask(PutHead(agreement=agreement, head=head, grant=grant), HeadStored)

    asyncio.run(put(owner))
    assert [alarm.sort for alarm in list_alarms(house.state)] == [Sort.MOVED], "whoever has the disk can do that"
    asyncio.run(put(heir, after=1))
    assert head_of(house).epoch == 2
    assert list_alarms(house.state) == []
