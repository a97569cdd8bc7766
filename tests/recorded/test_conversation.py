"""Programs of recorded versions talk to this one: an owner of then to a host of now, and the other way round."""

import asyncio
import json
from pathlib import Path

import pytest

from agent.parties import running
from backuppeer import __version__
from backuppeer.ids import PeerId
from backuppeer.transport.base import Connection
from backuppeer.transport.memory import Network
from recorded.conversation import HOST, PACKS, Talk, fix_nonces, host_party, open_house, owner_party
from recorded.tape import Player

TAPES = sorted(Path(__file__).parent.glob("conversation-*.json"))


@pytest.fixture(autouse=True)
def _fixed_nonces(monkeypatch):
    fix_nonces(monkeypatch.setitem)


@pytest.fixture
def house(tmp_path):
    made = open_house(tmp_path / "host")
    yield made
    made.close()


def load(tape: Path):
    return json.loads(tape.read_text())


async def wait_closed(connection: Connection) -> None:
    async with asyncio.timeout(10):
        await connection.wait_closed()


async def replay_owner(sessions, house) -> None:
    """Let the recorded owner meet a live host, session after session."""
    for session in sessions:
        network = Network()
        transport, host = owner_party(network).transport, host_party(network, house)
        async with running(host):
            connection = await transport.dial(host.transport.transport_id, host.transport.addresses())
            try:
                await Player("owner", session, PACKS).play(connection)
                await wait_closed(connection)
            finally:
                await connection.close(0, "")
            assert host.faults == []


async def replay_host(sessions) -> None:
    """Let a live owner meet the recorded host."""
    talk = Talk()
    for session, act in zip(sessions, (talk.leave_backup, talk.restore_and_audit), strict=True):
        network = Network()
        owner, transport = owner_party(network), network.join(bytes([102]) * 32)

        async def answer(transport=transport, session=session) -> None:
            connection = await transport.accept()
            await Player("host", session, PACKS).play(connection)
            await connection.close(0, "")

        answering = asyncio.create_task(answer())
        async with running(owner):
            transport_id, where = transport.transport_id, transport.addresses()
            dialled = await owner.sessions.dial(PeerId(HOST.public), transport_id, where)
            await act(dialled)
            assert owner.faults == []
        await answering


def test_there_are_a_tape_and_homes_of_each_minor_version_so_far():
    major, minor, _ = __version__.split(".")
    versions = [f"{major}.{number}" for number in range(1, int(minor) + 1)]
    assert [tape.name for tape in TAPES] == [f"conversation-{version}.json" for version in versions]
    homes = sorted(TAPES[0].parent.glob("homes-*"))
    assert [path.name for path in homes] == [f"homes-{version}.tar.xz" for version in versions]


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.stem)
def test_a_recorded_owner_agrees_backs_up_restores_and_audits_with_this_host(tape, house):
    asyncio.run(replay_owner(load(tape), house))


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.stem)
def test_this_owner_agrees_backs_up_restores_and_audits_with_a_recorded_host(tape):
    asyncio.run(replay_host(load(tape)))


def test_a_host_that_says_less_than_was_recorded_is_found_out(house):
    sessions = load(TAPES[-1])
    usage = sessions[0][-1][-1]
    usage[1] = usage[1].replace(b"packs".hex() + "02", b"packs".hex() + "03")
    with pytest.raises(AssertionError, match="packs of message 32 is 2, not 3"):
        asyncio.run(replay_owner(sessions[:1], house))
