"""Each host asked whether it is there: in real sessions, and where nobody answers."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.hosted import hosted
from agent.loops import SetClock, play
from backuppeer.agent.commands.doctor import DoctorCommands, find_skew, try_host
from backuppeer.agent.peers.parting import LeftAlone
from backuppeer.clock import SystemClock
from backuppeer.control.api import Nothing
from backuppeer.control.doctor import PeerCheck
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerUnreachable, RefusedError
from backuppeer.ids import AgreementId, PeerId, TransportId, format_peer_id
from backuppeer.limits import CLOCK_TOLD_S, DOCTOR_PEERS, DOCTOR_S
from backuppeer.proof.statements import TransportBinding, sign_statement

AGREEMENT = AgreementId(b"a" * 16)
HOST = PeerId(b"h" * 32)


def new_row(peer=HOST):
    return PeerCheck(peer_id=format_peer_id(peer), alias="", role="host")


class Reaching:
    """Reaches whatever a test has."""

    def __init__(self, found):
        self.found = found

    async def session(self, peer):
        if isinstance(self.found, Exception):
            raise self.found
        if self.found is None:
            await asyncio.Event().wait()
        return self.found


def test_a_host_that_is_there_answers_and_its_path_is_told(house, owner):
    async def scenario():
        agreement = owner.agree_with(house)
        async with hosted(house, owner) as link:
            row = new_row(house.peer)
            await try_host(Reaching(link.session), SystemClock(), (house.peer, agreement), row)
        assert (row.reached, row.path, row.error, row.code) == (True, "direct", "", 0)
        assert row.rtt_ms > 0
        assert row.skew_s is None

    asyncio.run(scenario())


def test_a_host_that_knows_of_no_agreement_is_there_and_says_so(house, owner):
    async def scenario():
        async with hosted(house, owner) as link:
            row = new_row(house.peer)
            await try_host(Reaching(link.session), SystemClock(), (house.peer, AGREEMENT), row)
        assert (row.reached, row.code) == (False, RefusedError.exit_code)
        assert row.error.startswith("the peer says")
        assert row.hint

    asyncio.run(scenario())


def test_a_host_that_is_left_alone_is_not_asked_and_told_as_that():
    async def scenario():
        for error, is_left_alone in ((LeftAlone("ended here"), True), (PeerUnreachable("gone"), False)):
            row = new_row()
            await try_host(Reaching(error), SetClock(), (HOST, AGREEMENT), row)
            assert (row.reached, row.left_alone, row.error) == (False, is_left_alone, error.message)

    play(scenario())


@pytest.mark.parametrize(
    ("error", "code", "differs"),
    [
        (PeerUnreachable("gone", hint="wait"), 11, False),
        (AuthenticationFault("somebody else", hint="wait"), 12, True),
        (None, 11, False),
    ],
)
def test_a_host_that_does_not_answer_holds_nobody_up(error, code, differs):
    async def scenario():
        row, clock = new_row(), asyncio.get_running_loop()
        began_s = clock.time()
        await try_host(Reaching(error), SetClock(), (HOST, AGREEMENT), row)
        assert clock.time() - began_s <= DOCTOR_S + 0.1
        assert (row.reached, row.code, row.differs) == (False, code, differs)
        assert row.error == (error.message if error else "no answer within 5 s")

    play(scenario())


def test_a_clock_is_told_by_when_a_hello_was_signed():
    identity = SigningKey.from_seed(b"k" * 32)
    peer = PeerId(identity.public)
    binding = TransportBinding(peer=peer, transport=TransportId(b"t" * 32), addresses=[], time_ms=5_000_000)
    hello = SimpleNamespace(binding=sign_statement(binding, identity))
    assert find_skew(SimpleNamespace(hello=hello, peer=peer, since_ms=1_400_000)) == 3600.0
    assert find_skew(SimpleNamespace(hello=SimpleNamespace(binding=b""), peer=peer, since_ms=1)) is None
    with pytest.raises(AuthenticationFault):
        find_skew(SimpleNamespace(hello=hello, peer=HOST, since_ms=1))


@pytest.mark.parametrize(("signed_ms", "since_ms", "sign"), [(2**63 - 1, 0, 1), (0, 9 * 10**15, -1)])
def test_a_clock_that_tells_nonsense_is_told_as_a_century_off_at_most(signed_ms, since_ms, sign):
    identity = SigningKey.from_seed(b"k" * 32)
    peer = PeerId(identity.public)
    binding = TransportBinding(peer=peer, transport=TransportId(b"t" * 32), addresses=[], time_ms=signed_ms)
    hello = SimpleNamespace(binding=sign_statement(binding, identity))
    assert find_skew(SimpleNamespace(hello=hello, peer=peer, since_ms=since_ms)) == sign * CLOCK_TOLD_S


def test_all_hosts_are_asked_side_by_side_and_no_more_than_can_be(monkeypatch):
    hosts = [PeerId(number.to_bytes(32, "big")) for number in range(DOCTOR_PEERS + 2)]
    told = []

    async def emit(event):
        told.extend(event.data["rows"])

    async def scenario():
        monkeypatch.setattr("backuppeer.agent.commands.doctor.describe_all", lambda *_: [])
        monkeypatch.setattr(DoctorCommands, "_describe", lambda _, peer, __: new_row(peer))
        parts = SimpleNamespace(
            state=SimpleNamespace(agreements=lambda: [(AGREEMENT, host, b"") for host in hosts], peer=lambda _: None),
            reach=Reaching(None),
            clock=SetClock(),
        )
        sides = {"host": SimpleNamespace(premises=SimpleNamespace(owners=frozenset))}
        agent = SimpleNamespace(parts=parts, owner=SimpleNamespace(vault=None, auditor=None), **sides)
        began_s = asyncio.get_running_loop().time()
        result = await DoctorCommands(agent).peers(Nothing(), emit)
        assert asyncio.get_running_loop().time() - began_s <= DOCTOR_S + 0.1
        assert (result.peers, result.left_out) == (DOCTOR_PEERS, 2)
        assert len(told) == DOCTOR_PEERS

    play(scenario())
