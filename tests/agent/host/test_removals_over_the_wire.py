"""Deletes, revives and their lists over a session; the sweep of the agent."""

import asyncio

import pytest

from agent.hosted import hosted
from agent.owner.test_heads import INDEX, chain_of, inventory
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.errors import BackupPeerError, StoreUnavailable
from backuppeer.ids import AgreementId
from backuppeer.limits import SWEEP_S, SWEEP_SOONEST_S
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.removals import PackDelete, PackRevive, sign_removal
from backuppeer.proof.statements import statement_hash
from backuppeer.trust.tenants import Deed
from backuppeer.wire.codes import CloseCode, RefusalCode
from backuppeer.wire.messages import (
    Deleted,
    DeletedList,
    DeletePacks,
    GetUsage,
    HeadStored,
    ListDeleted,
    ListPacks,
    PackList,
    PutHead,
    Revived,
    RevivePacks,
    Usage,
)

DATA = b"pack" * 1000
STORED = compute_stored_id(DATA)
HELD_S = 120
"""Twice the lock: it is all that there is."""


def sign(kind, owner, agreement, head, *, key=None):
    named = (statement_hash(head[1]), head[0])
    return sign_removal(kind, [STORED], key or owner.keys.identity, agreement=agreement, head=named, time_ms=1)


async def leave_head(link, owner, agreement):
    """Leave the owner's next head with the host, and return its number and signed bytes."""
    chain_of(owner).extend(INDEX, inventory())
    number, signed, grant = owner.state.last_head(owner.keys.repository)
    await link.ask(PutHead(agreement=agreement, head=signed, grant=grant), HeadStored)
    return number, signed


def test_packs_are_deleted_revived_and_listed_on_the_word_of_their_owner(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, DATA)
            head = await leave_head(link, owner, agreement)
            wish = DeletePacks(agreement=agreement, signed=sign(PackDelete, owner, agreement, head), packs=(STORED,))
            assert await link.ask(wish, Deleted) == Deleted(packs=1, lock_s=HELD_S)
            assert (await link.ask(ListPacks(agreement=agreement), PackList)).packs == ()
            (row,) = (await link.ask(ListDeleted(agreement=agreement), DeletedList)).packs
            assert house.standing.tenancy(owner.peer)[Deed.DELETED] == 1, "its person may see it in the owner's record"
            assert row == (STORED, len(DATA), HELD_S)
            usage = await link.ask(GetUsage(agreement=agreement), Usage)
            assert (usage.used_bytes, usage.deleted_bytes) == (len(DATA), len(DATA))
            assert (usage.next_free_bytes, usage.next_free_s, usage.spare_bytes) == (len(DATA), HELD_S, 0)
            head = await leave_head(link, owner, agreement)
            back = RevivePacks(agreement=agreement, signed=sign(PackRevive, owner, agreement, head), packs=(STORED,))
            assert await link.ask(back, Revived) == Revived(packs=(STORED,))
            assert len((await link.ask(ListPacks(agreement=agreement), PackList)).packs) == 1
            # The old request again, as a replay: another head is held by now.
            async with link.session.request(wish) as channel:
                refused = await channel.receive_any()
            assert refused.code == RefusalCode.POLICY
            assert (await link.ask(ListDeleted(agreement=agreement), DeletedList)).packs == ()

    asyncio.run(scenario())


def test_a_delete_under_an_agreement_of_somebody_else_is_refused_like_one_that_does_not_exist(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, DATA)
            head = await leave_head(link, owner, agreement)
            answers = []
            for other in (AgreementId(b"?" * 16), AgreementId(b"\1" * 15 + b"\2")):
                signed = sign(PackDelete, owner, other, head)
                async with link.session.request(
                    DeletePacks(agreement=other, signed=signed, packs=(STORED,))
                ) as channel:
                    answers.append(await channel.receive_any())
            assert answers[0] == answers[1]
            assert house.premises.open().has(agreement, STORED)
            assert Deed.DELETED not in house.standing.tenancy(owner.peer)

    asyncio.run(scenario())


def test_a_forged_delete_ends_the_session_and_is_written_down(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, DATA)
            head = await leave_head(link, owner, agreement)
            signed = sign(PackDelete, owner, agreement, head, key=house.identity)
            with pytest.raises(BackupPeerError):
                await link.ask(DeletePacks(agreement=agreement, signed=signed, packs=(STORED,)), Deleted)
            await link.session.ended.wait()
            assert house.premises.open().has(agreement, STORED)
            assert {fault.__class__.__name__ for _, fault in link.far.faults} == {"ProtocolViolation"}
            assert link.far.met[0].connection.close_info.code == CloseCode.VIOLATION, "it was proven who shows it"

    asyncio.run(scenario())


def delete_directly(house, owner, agreement):
    store = house.premises.open()
    with store.receive(agreement, STORED, len(DATA)) as incoming:
        incoming.write(DATA)
        incoming.commit()
    chain_of(owner).extend(INDEX, inventory())
    number, signed, grant = owner.state.last_head(owner.keys.repository)
    store.heads.put_head(agreement, signed, grant, signer=house.identity, now_ms=1)
    store.removals.delete(agreement, sign(PackDelete, owner, agreement, (number, signed)), [STORED])
    return store


def test_the_sweep_counts_only_time_between_its_looks_and_erases_when_a_lock_is_over(house, owner):
    agreement = owner.agree_with(house)
    store = delete_directly(house, owner, agreement)
    sweeping = Sweeping(house.premises, house.clock)
    assert sweeping.look() == HELD_S, "it looks again when the lock is over"
    house.clock.ms += HELD_S * 1000 - 500
    assert sweeping.look() == SWEEP_SOONEST_S
    house.clock.ms += 500
    assert sweeping.look() == SWEEP_S
    assert store.usage(agreement).used_bytes == 0


def test_a_machine_that_was_off_or_whose_clock_jumps_erases_nothing(house, owner):
    agreement = owner.agree_with(house)
    store = delete_directly(house, owner, agreement)
    Sweeping(house.premises, house.clock).look()
    house.clock.ms += 10**9
    sweeping = Sweeping(house.premises, house.clock)
    assert sweeping.look() == HELD_S, "an agent that was not running saw no time pass"
    own = house.clock.monotonic_s()
    house.clock.monotonic_s = lambda: own
    house.clock.ms += 40 * 86_400_000
    assert sweeping.look() == HELD_S
    assert any("jumped" in note for note in house.premises.notes)
    house.clock.ms -= 80 * 86_400_000
    assert sweeping.look() == HELD_S
    assert store.usage(agreement).used_bytes == len(DATA)


def test_the_time_in_which_the_store_was_away_does_not_count(house, owner):
    agreement = owner.agree_with(house)
    delete_directly(house, owner, agreement)
    sweeping = Sweeping(house.premises, house.clock)
    sweeping.look()
    folder = house.premises.directory
    folder.rename(folder.with_name("unplugged"))
    house.clock.ms += 50_000
    with pytest.raises(StoreUnavailable):
        sweeping.look()
    folder.with_name("unplugged").rename(folder)
    assert sweeping.look() == HELD_S
    house.clock.ms += 20_000
    assert sweeping.look() == HELD_S - 20


@pytest.mark.timeout(30)
def test_a_delete_in_the_middle_of_a_look_brings_another_one(house, owner):
    owner.agree_with(house)
    sweeping = Sweeping(house.premises, house.clock)

    async def scenario():
        looks: asyncio.Queue[int] = asyncio.Queue()
        loop, plain = asyncio.get_running_loop(), sweeping.look

        def look():
            pause_s = plain()
            if looks.empty():
                asyncio.run_coroutine_threadsafe(wake(), loop).result()
            loop.call_soon_threadsafe(looks.put_nowait, 1)
            return pause_s

        async def wake():
            sweeping.wake()

        sweeping.look = look
        task = asyncio.create_task(sweeping.run())
        await looks.get()
        await looks.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_delete_wakes_the_sweep(house, owner):
    agreement = owner.agree_with(house, (4 * 2**20, 3600, 0))
    sweeping = Sweeping(house.premises, house.clock)

    async def scenario():
        looks: asyncio.Queue[int] = asyncio.Queue()
        loop, plain = asyncio.get_running_loop(), sweeping.look

        def look():
            pause_s = plain()
            loop.call_soon_threadsafe(looks.put_nowait, 1)
            return pause_s

        sweeping.look = look
        task = asyncio.create_task(sweeping.run())
        await looks.get()
        store = await asyncio.to_thread(delete_directly, house, owner, agreement)
        sweeping.wake()
        await looks.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert store.usage(agreement).used_bytes == 0, "a lock of 0 is honoured"

    asyncio.run(scenario())
