"""Deletes after a take-over: the new writer's are followed, those of the home that was taken over are not."""

import asyncio

import pytest

from agent.estates import estate_of
from agent.jobs.test_prune import _large, deleted, forget, held, house, lease_of, prune, tree  # noqa: F401 - fixtures
from agent.jobs.test_take_over import job, machine
from backuppeer.errors import BackupPeerError
from backuppeer.proof.removals import PackDelete, PackWithdraw
from backuppeer.proof.statements import statement_hash
from backuppeer.shares.ledger import Copy
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import DeletePacks, Refused, WithdrawPacks


def test_the_new_writer_prunes_and_revives_and_the_old_home_deletes_nothing_whatever_it_signs(
    house,  # noqa: F811 - the fixture
    owner,
    tree,  # noqa: F811 - the fixture
    tmp_path,
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as first:
            await first.back_up(tree("a"))
            second = machine(first, tmp_path / "second", epoch=2)
            await job(second, owner).announce()
            await second.back_up(tree("b"))
            await forget(second, second.snapshots()[0])
            (row,) = (await prune(second)).hosts
            gone = deleted(house)
            assert row.told
            assert gone
            store = house.premises.open()
            assert all(kept.grant and kept.device_sig for _, kept in store.removals.signed(lease_of(house)))

            # A thief of the first home: it names the head that the host holds, and signs with all keys that it has.
            before = held(house)
            head = store.heads.get(lease_of(house))
            named = (statement_hash(head.signed_head), head.head.number)
            copies = [Copy(bytes(16), lease_of(house), stored, 1, bytes(64)) for stored in before]
            packs = tuple(copy.stored for copy in copies)
            for kind, message in ((PackDelete, DeletePacks), (PackWithdraw, WithdrawPacks)):
                signed, _ = first.vault.sign_removal(kind, copies, named)
                request = message(agreement=lease_of(house), signed=signed, packs=packs)
                async with first.sight.sessions[house.peer].request(request) as channel:
                    answer = await channel.receive_any()
                assert isinstance(answer, Refused)
                assert answer.code == RefusalCode.POLICY
                assert "another machine of this owner" in answer.message
            signed, device_sig = first.vault.sign_removal(PackDelete, copies, named)
            request = DeletePacks(agreement=lease_of(house), signed=signed, packs=packs, device_sig=device_sig)
            session = first.sight.sessions[house.peer]
            with pytest.raises(BackupPeerError):
                async with session.request(request) as channel:
                    await channel.receive_any()
            await session.ended.wait()
            assert (held(house), deleted(house)) == (before, gone)
            second.close()

    asyncio.run(scenario())
