"""A check of a host whose answers are no messages: what it does not give twice is lost; nonsense once is none."""

import random
from collections import Counter
from contextlib import suppress

import pytest

from agent.jobs.test_check import check, play, repair  # noqa: F401 - a fixture
from backuppeer.agent.audits import proofreading
from backuppeer.agent.host.serving import Serving
from backuppeer.errors import PeerUnreachable, ProtocolViolation
from backuppeer.ids import format_peer_id
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind


class Babble:
    """Answers with what is no message where `may_answer` says no; the session ends with it, as a broken frame's may."""

    def __init__(self, monkeypatch, house, may_answer) -> None:
        self.asked: Counter[bytes] = Counter()
        send_range = Serving._send_range

        async def answer(serving, store, channel, message):
            if store is not house.premises.open() or may_answer(message):
                await send_range(serving, store, channel, message)
                return
            self.asked[message.stored] += 1
            await channel._stream.write(b"\0\0\0\x05\x18\xc1\xc1\xc1\xc1")
            with suppress(PeerUnreachable):
                await channel.wait_end()
            raise ProtocolViolation("so the session ends")

        monkeypatch.setattr(Serving, "_send_range", answer)


async def back_up_five(estate, folder):
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}").write_bytes(random.Random(number).randbytes(200_000))
        await estate.back_up(folder)


def copies_at(estate, house):
    (agreement,) = [p.agreement for p in estate.vault.partners() if p.peer == house.peer]
    return list(estate.vault.repository.ledger.copies_at(agreement))


def test_a_pack_that_is_answered_with_nonsense_twice_is_lost_by_name_and_repaired(
    house,
    other,
    tmp_path,
    *,
    play,  # noqa: F811
    monkeypatch,
):
    async def scenario(estate):
        await back_up_five(estate, tmp_path / "files")
        estate.dial_again(house)
        bad = max(copies_at(estate, house), key=lambda copy: copy.size)
        with monkeypatch.context() as patch:
            babble = Babble(patch, house, lambda message: message.stored != bad.stored)
            result, told = await check(estate, read_data=True)
            assert babble.asked[bad.stored] >= 2, "asked again where a session ended under it"
        assert result.left_out == [], "what it gives is read"
        assert result.unread_copies == 1, "all but the one"
        assert [problem.peer_id for problem in result.problems] == [format_peer_id(house.peer)]
        assert "returned 1 pack wrong" in result.problems[0].text
        assert any(bad.logical.hex()[:8] in note for note in told.notes)
        assert "copy 1 pack to" in result.repairs[0].text
        assert {Kind.LOST, Kind.PROTOCOL_VIOLATION} <= estate.seen(house)
        assert estate.vault.standing.bar(house.peer) is Bar.LOST
        estate.forgive(house)
        await repair(estate, result)
        assert (await check(estate, read_data=True))[0].problems == []

    play(scenario, house, other)


def test_a_pack_that_comes_at_the_second_time_is_no_problem_and_the_rest_of_the_host_is_read(
    house,
    other,
    tmp_path,
    *,
    play,  # noqa: F811
    monkeypatch,
):
    async def scenario(estate):
        await back_up_five(estate, tmp_path / "files")
        estate.dial_again(house)
        first = Counter[bytes]()

        def is_second(message):
            first[message.stored] += 1
            return first[message.stored] > 1

        with monkeypatch.context() as patch:
            babble = Babble(patch, house, is_second)
            result, _ = await check(estate, read_data=True)
        assert len(babble.asked) == len(copies_at(estate, house)), "of each of them the first answer was none"
        assert (result.problems, result.repairs, result.left_out) == ([], [], [])
        assert result.read_copies == result.copies
        assert Kind.PROTOCOL_VIOLATION in estate.seen(house)
        assert Kind.LOST not in estate.seen(house)

    play(scenario, house, other)


def test_a_host_that_gives_nothing_but_nonsense_is_left_out_when_enough_was_asked_again(
    house,
    other,
    tmp_path,
    *,
    play,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr(proofreading, "NONSENSE_PACKS", 2)

    async def scenario(estate):
        await back_up_five(estate, tmp_path / "files")
        estate.dial_again(house)
        with monkeypatch.context() as patch:
            Babble(patch, house, lambda _: False)
            result, _ = await check(estate, read_data=True)
        assert [row.peer_id for row in result.left_out] == [format_peer_id(house.peer)]
        assert "returned 2 packs wrong" in result.problems[0].text
        assert result.files_hit == 0

    play(scenario, house, other)


@pytest.mark.parametrize("seed", range(4))
def test_a_host_that_is_gone_after_its_nonsense_is_left_out_whoever_of_the_readers_meets_it(
    house,
    other,
    tmp_path,
    *,
    play,  # noqa: F811
    monkeypatch,
    seed,
):
    monkeypatch.setattr("backuppeer.agent.owner.fetch.RETRY_BUDGET_S", 0.2)
    dice = random.Random(seed)

    async def scenario(estate):
        await back_up_five(estate, tmp_path / "files")
        with monkeypatch.context() as patch:
            Babble(patch, house, lambda _: dice.random() < 0.3)
            result, told = await check(estate, read_data=True)
        assert [row.peer_id for row in result.left_out] == [format_peer_id(house.peer)]
        assert any("broke the protocol when asked for pack" in note for note in told.notes)
        assert (result.problems, result.repairs, result.files_hit) == ([], [], 0)
        assert Kind.PROTOCOL_VIOLATION in estate.seen(house)
        assert Kind.LOST not in estate.seen(house)
        assert estate.vault.standing.bar(house.peer) is None

    play(scenario, house, other)
