"""A check of a host whose answers are no messages: it is left out by name, and no pack is said to be lost."""

import asyncio
import random

import pytest

from agent.jobs.test_check import check, play  # noqa: F401 - a fixture
from backuppeer.agent.host.serving import Serving
from backuppeer.ids import format_peer_id
from backuppeer.trust.evidence import Kind


@pytest.mark.parametrize("seed", range(4))
def test_a_host_that_answers_with_no_message_is_left_out_whoever_of_the_readers_meets_it(
    house,
    other,
    tmp_path,
    *,
    play,  # noqa: F811
    monkeypatch,
    seed,
):
    monkeypatch.setattr("backuppeer.agent.owner.fetch.RETRY_BUDGET_S", 0.2)
    folder, dice, send_range = tmp_path / "files", random.Random(seed), Serving._send_range
    folder.mkdir()

    async def send_nonsense(serving, store, channel, message):
        if store is house.premises.open() and dice.random() < 0.7:
            await channel._stream.write(b"\0\0\0\x05\x18\xc1\xc1\xc1\xc1")
            await asyncio.Event().wait()
        else:
            await send_range(serving, store, channel, message)

    async def scenario(estate):
        for number in range(5):
            (folder / f"{number}").write_bytes(dice.randbytes(200_000))
            await estate.back_up(folder)
        with monkeypatch.context() as patch:
            patch.setattr(Serving, "_send_range", send_nonsense)
            result, told = await check(estate, read_data=True)
        assert [row.peer_id for row in result.left_out] == [format_peer_id(house.peer)]
        assert any("broke the protocol when asked for pack" in note for note in told.notes)
        assert (result.problems, result.repairs, result.files_hit) == ([], [], 0)
        assert Kind.PROTOCOL_VIOLATION in estate.seen(house)
        assert Kind.LOST not in estate.seen(house)
        assert estate.vault.standing.bar(house.peer) is None

    play(scenario, house, other)
