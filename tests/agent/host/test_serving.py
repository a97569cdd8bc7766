import asyncio
import hashlib
import os
from contextlib import suppress

import pytest

from agent.hosted import hosted
from agent.houses import WISH, OwnerHouse, offer, partner
from agent.owner.test_heads import INDEX, chain_of, inventory, rows
from backuppeer.agent.home.state import State
from backuppeer.agent.host.telling import PACK_LOST
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.errors import DamagedStateError, PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, StoredId, format_peer_id
from backuppeer.limits import LEAF_BYTES, MIB
from backuppeer.proof.merkle import compute_stored_id, verify_range
from backuppeer.proof.statements import Agreement, HeadReceipt, open_statement, statement_hash
from backuppeer.trust import evidence as evidence_module
from backuppeer.trust.evidence import Kind
from backuppeer.trust.tenants import Deed
from backuppeer.wire.codec import encode
from backuppeer.wire.codes import CloseCode, RefusalCode
from backuppeer.wire.messages import (
    Agreed,
    GetHead,
    GetRange,
    GetUsage,
    HeadIs,
    HeadStored,
    ListPacks,
    PackList,
    Pending,
    Pong,
    Proceed,
    ProposeAgreement,
    PutHead,
    PutPack,
    Range,
    Refused,
    Usage,
)

UNKNOWN = AgreementId(b"?" * 16)


def noise(seed: object, size: int) -> bytes:
    return hashlib.shake_128(repr(seed).encode()).digest(size)


async def read_range(link, agreement, stored, first, count):
    message = GetRange(agreement=agreement, stored=stored, first_leaf=first, leaves=count)
    async with link.session.request(message) as channel:
        answer = await channel.receive(Range)
        data = b"".join([bytes(piece) async for piece in channel.receive_raw(answer.size)])
    return answer, data


async def refusal(link, message) -> Refused:
    async with link.session.request(message) as channel:
        return await channel.receive_any()


def test_a_pack_that_was_acknowledged_is_durable_and_every_range_of_it_verifies(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 2 * MIB + 5000)
    stored = compute_stored_id(data)

    async def scenario():
        async with hosted(house, owner) as link:
            assert await link.put(agreement, data) == "sent"
            assert house.premises.open().read(agreement, stored, offset=0, length=len(data)) == data
            assert await link.put(agreement, data) == "known", "nothing is sent twice"
            leaves = -(-len(data) // LEAF_BYTES)
            for first, count in ((0, leaves), (0, 1), (leaves - 1, 1), (3, 64), (leaves - 2, 64)):
                answer, got = await read_range(link, agreement, stored, first, count)
                assert got == data[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
                assert answer.pack_bytes == len(data)
                verify_range(stored, len(data), first, got, answer.path)

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", ["gone", "shorter"])
def test_a_pack_that_the_disk_lost_is_told_as_lost_to_its_owner_and_noted_for_the_host_s_human(house, owner, harm):
    agreement = owner.agree_with(house)
    data = noise("pack", 500_000)
    stored = compute_stored_id(data)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            (path,) = house.premises.directory.rglob(stored.hex())
            path.unlink() if harm == "gone" else os.truncate(path, 1000)
            answer = await refusal(link, GetRange(agreement=agreement, stored=stored, first_leaf=0, leaves=1))
            assert (answer.code, answer.message) == (RefusalCode.DAMAGED, PACK_LOST)
            assert any(stored.hex() in note for note in house.premises.notes)

    asyncio.run(scenario())


def test_no_agreement_and_somebody_elses_agreement_are_told_alike(house, owner, tmp_path):
    own = owner.agree_with(house)
    thief = OwnerHouse(tmp_path / "thief", b"t")
    thief.agree_with(house, number=7)
    data = noise("secret", 300_000)
    stored = compute_stored_id(data)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(own, data)
        async with hosted(house, thief) as link:
            for make in (
                lambda agreement: GetRange(agreement=agreement, stored=stored, first_leaf=0, leaves=1),
                lambda agreement: PutPack(agreement=agreement, stored=stored, size=len(data)),
                lambda agreement: PutHead(agreement=agreement, head=b"h", grant=b"g"),
                lambda agreement: GetHead(agreement=agreement),
                lambda agreement: ListPacks(agreement=agreement),
                lambda agreement: GetUsage(agreement=agreement),
            ):
                foreign, unknown = await refusal(link, make(own)), await refusal(link, make(UNKNOWN))
                assert isinstance(foreign, Refused)
                assert foreign == unknown

    asyncio.run(scenario())
    thief.close()


def test_the_same_pack_in_the_store_of_another_owner_is_not_found(house, owner, tmp_path):
    own = owner.agree_with(house)
    thief = OwnerHouse(tmp_path / "thief", b"t")
    mine = thief.agree_with(house, number=7)
    data = noise("secret", 300_000)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(own, data)
        async with hosted(house, thief) as link:
            with pytest.raises(RefusedError):
                await read_range(link, mine, compute_stored_id(data), 0, 1)
            assert await link.put(mine, data) == "sent", "knowing the id of a pack is no proof of having it"

    asyncio.run(scenario())
    thief.close()


def test_a_pack_over_the_quota_is_refused_before_a_byte_of_it_is_sent_and_nothing_is_stored(house, owner):
    agreement = owner.agree_with(house, (1 * MIB, *WISH[1:]))
    big = noise("big", 1 * MIB + 1)

    async def scenario():
        async with hosted(house, owner) as link:
            answer = await refusal(link, PutPack(agreement=agreement, stored=compute_stored_id(big), size=len(big)))
            assert isinstance(answer, Refused)
            assert await link.put(agreement, noise("fits", 1 * MIB)) == "sent"
            with pytest.raises(RefusedError):
                await link.put(agreement, noise("one more", 1000))
            usage = await link.ask(GetUsage(agreement=agreement), Usage)
            assert (usage.size_bytes, usage.used_bytes, usage.packs) == (1 * MIB, 1 * MIB, 1)
            assert house.standing.tenancy(owner.peer) == {Deed.OVERDRAWN: 1}
            assert not house.standing.has_failed(owner.peer), "no score follows"

    asyncio.run(scenario())


def test_bytes_that_are_not_those_of_the_stored_id_are_refused_and_nothing_is_stored(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 500_000)
    wrong = StoredId(b"\x07" * 32)

    async def scenario():
        async with hosted(house, owner) as link:
            with pytest.raises(RefusedError):
                await link.put(agreement, data, stored=wrong)
            assert not house.premises.open().has(agreement, wrong)
            assert not house.premises.open().has(agreement, compute_stored_id(data))
            usage = await link.ask(GetUsage(agreement=agreement), Usage)
            assert (usage.used_bytes, usage.packs) == (0, 0), "the room is free again"

    asyncio.run(scenario())


def test_an_owner_that_sends_other_bytes_than_announced_is_remembered_but_can_not_fill_the_disk(
    house, owner, monkeypatch
):
    monkeypatch.setattr(evidence_module, "OBSERVATIONS_PER_DAY", 3)
    agreement = owner.agree_with(house)
    data = noise("pack", 100_000)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            assert house.evidence.latest(owner.peer) == []
            for number in range(5):
                with pytest.raises(RefusedError):
                    await link.put(agreement, data, stored=StoredId(bytes([number]) * 32))
            seen = house.evidence.latest(owner.peer)
            assert [each.kind for each in seen] == [Kind.PROTOCOL_VIOLATION] * 3
            assert "not those of pack" in seen[0].detail
            assert link.session.is_open, "it may still read what it stored"

    asyncio.run(scenario())


async def until_taken(put):
    async with asyncio.timeout(30):
        while True:
            with suppress(RefusedError):
                return await put()
            await asyncio.sleep(0)


def test_a_pack_whose_sending_broke_off_leaves_nothing_and_its_room_is_free(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 3 * MIB)
    message = PutPack(agreement=agreement, stored=compute_stored_id(data), size=len(data))

    async def break_off(link):
        async with link.session.request(message) as channel:
            await channel.receive(Proceed)
            await channel.send_raw(data[:MIB])
            raise ConnectionAbortedError

    async def scenario():
        async with hosted(house, owner) as link:
            with pytest.raises(ConnectionAbortedError):
                await break_off(link)
            # 3 of 4 MiB: there is room only when the host has seen the end and released its reservation.
            assert await until_taken(lambda: link.put(agreement, data)) == "sent"

    asyncio.run(scenario())
    assert house.premises.open().totals().reserved_bytes == 0


def test_packs_are_listed_page_by_page_each_once(house, owner):
    agreement = owner.agree_with(house)
    packs = {compute_stored_id(data): len(data) for data in (noise(n, 1000 + n) for n in range(7))}

    async def scenario():
        async with hosted(house, owner) as link:
            for n in range(7):
                await link.put(agreement, noise(n, 1000 + n))
            for limit in (1, 3, 7, 100):
                found, after, more = [], b"", True
                while more:
                    page = await link.ask(ListPacks(agreement=agreement, after=after, limit=limit), PackList)
                    assert len(page.packs) <= limit
                    found += page.packs
                    after, more = (found[-1].stored if found else b""), page.more
                assert {row.stored: row.size for row in found} == packs
                assert len(found) == len(packs)
                assert [row.stored for row in found] == sorted(packs)

    asyncio.run(scenario())


def test_leaves_beyond_the_pack_and_unknown_packs_are_an_error_that_harms_nobody(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 100_000)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            answer = await refusal(
                link, GetRange(agreement=agreement, stored=StoredId(b"n" * 32), first_leaf=0, leaves=1)
            )
            assert answer.code == RefusalCode.NOT_FOUND
            assert (await link.ask(GetUsage(agreement=agreement), Usage)).packs == 1

    asyncio.run(scenario())


def test_leaves_beyond_the_pack_are_a_violation(house, owner):
    agreement = owner.agree_with(house)
    data = noise("pack", 100_000)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            far = await link.far.sessions.wait_for(owner.peer, 5.0)
            with pytest.raises(PeerUnreachable):
                await read_range(link, agreement, compute_stored_id(data), 600, 1)
            await far.ended.wait()
            assert [peer for peer, _ in link.far.faults] == [owner.peer]

    asyncio.run(scenario())


def test_a_stream_that_opens_with_no_request_closes_the_session_and_is_reported(house, owner):
    async def scenario():
        async with hosted(house, owner) as link:
            far = await link.far.sessions.wait_for(owner.peer, 5.0)
            stream = await link.session.connection.open_stream()
            await stream.write(encode(Pong()))
            await far.ended.wait()
            ((culprit, error),) = link.far.faults
            assert culprit == owner.peer
            assert isinstance(error, ProtocolViolation)

    asyncio.run(scenario())


def test_an_agreement_is_proposed_decided_and_countersigned_over_a_session(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    message = ProposeAgreement(signed=owner.propose(house.peer))

    async def scenario():
        async with hosted(house, owner) as link:
            assert isinstance(await link.ask(message, Agreed, Pending), Pending)
            house.requests.decide(format_peer_id(owner.peer), accept=True)
            answer = await link.ask(message, Agreed, Pending)
            assert open_statement(Agreement, answer.signed, owner.peer, house.peer).size_bytes == WISH[0]
            assert await link.ask(message, Agreed, Pending) == answer
            assert house.standing.tenancy(owner.peer) == {Deed.AGREED: 1}

    asyncio.run(scenario())


def test_a_head_is_set_by_compare_and_set_and_countersigned(house, owner):
    agreement = owner.agree_with(house)
    chain = chain_of(owner)
    for count in (1, 2, 3):
        chain.extend(INDEX, inventory(count))
    (_, first, grant), (_, second, _), _ = rows(chain)
    fork_state = State(owner.home.path / "fork.db")
    fork = chain_of(owner, fork_state)
    fork.extend(INDEX, inventory(9))
    ((_, rival, _),) = rows(fork)

    async def scenario():
        async with hosted(house, owner) as link:
            put = lambda head: link.ask(PutHead(agreement=agreement, head=head, grant=grant), HeadStored, HeadIs)  # noqa: E731
            assert await link.ask(GetHead(agreement=agreement), HeadIs) == HeadIs()
            receipt = open_statement(HeadReceipt, (await put(first)).receipt, house.peer)
            assert (receipt.head_hash, receipt.agreement) == (statement_hash(first), agreement)
            assert await put(rival) == HeadIs(head=first, grant=grant), "the first of two wins"
            assert isinstance(await put(second), HeadStored)
            assert await put(first) == HeadIs(head=second, grant=grant), "no way back"
            assert await link.ask(GetHead(agreement=agreement), HeadIs) == HeadIs(head=second, grant=grant)

    asyncio.run(scenario())
    fork_state.close()


@pytest.mark.parametrize("held", [0, 1, 3, 5])
def test_a_host_that_lagged_is_brought_up_head_by_head(house, owner, held):
    agreement = owner.agree_with(house)
    chain = chain_of(owner)
    for count in range(held):
        chain.extend(INDEX, inventory(count + 1))

    async def scenario():
        async with hosted(house, owner) as link:
            host = partner(house, agreement, link.session)
            await chain.leave_with(host)
            for count in range(held, 5):
                chain.extend(INDEX, inventory(count + 1))
            await chain.leave_with(host)
            kept = await link.ask(GetHead(agreement=agreement), HeadIs)
            assert kept.head == chain.newest()[1]
            await chain.leave_with(host)

    asyncio.run(scenario())


def test_a_host_with_a_head_that_is_not_ours_is_told_apart_from_one_that_lags(house, owner, tmp_path):
    agreement = owner.agree_with(house)
    state = State(tmp_path / "other.db")
    other = HeadChain(state, owner.keys, owner.keys.repository, owner.clock)
    other.extend(INDEX, inventory(9))
    chain = chain_of(owner)
    chain.extend(INDEX, inventory(1))

    async def scenario():
        async with hosted(house, owner) as link:
            host = partner(house, agreement, link.session)
            await other.leave_with(host)
            with pytest.raises(DamagedStateError, match="two histories"):
                await chain.leave_with(host)
            kept = await link.ask(GetHead(agreement=agreement), HeadIs)
            assert kept.head == other.newest()[1], "its head stands"

    asyncio.run(scenario())
    state.close()


def test_a_store_that_went_away_refuses_and_is_used_again_when_it_is_back(house, owner, tmp_path):
    agreement = owner.agree_with(house)
    store = house.premises.directory
    away = tmp_path / "unplugged"

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, noise("pack", 1000))
            store.rename(away)
            answer = await refusal(link, GetUsage(agreement=agreement))
            assert answer.code == RefusalCode.STORE_UNAVAILABLE
            assert "store is away" in answer.message
            assert str(tmp_path) not in answer.message + answer.hint
            assert house.requests.may_answer(owner.peer), "its owners are still answered"
            away.rename(store)
            assert (await link.ask(GetUsage(agreement=agreement), Usage)).packs == 1

    asyncio.run(scenario())


def test_what_another_signed_is_a_broken_protocol_of_who_shows_it(house, owner, tmp_path):
    agreement = owner.agree_with(house)
    other = OwnerHouse(tmp_path / "other", b"t")
    stranger = chain_of(other)
    stranger.extend(INDEX, inventory(1))
    ((_, head, grant),) = rows(stranger)
    forged = owner.propose(house.peer, WISH, number=9)[:-1] + b"!"

    async def scenario():
        for message in (PutHead(agreement=agreement, head=head, grant=grant), ProposeAgreement(signed=forged)):
            async with hosted(house, owner) as link:
                with pytest.raises(PeerUnreachable):
                    await refusal(link, message)
                await link.session.ended.wait()
                assert link.far.met[0].connection.close_info.code == CloseCode.VIOLATION
                ((peer, fault),) = link.far.faults
                assert (peer, type(fault)) == (owner.peer, ProtocolViolation)

    asyncio.run(scenario())
    other.close()
