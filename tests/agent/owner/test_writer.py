"""Grants seen and held: who may write, whatever order they come in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.writer import Writer
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import derive_authority, derive_identity, derive_working
from backuppeer.errors import AuthenticationFault, ExitCode, RefusedError
from backuppeer.ids import DeviceId, RepositoryId
from backuppeer.proof.statements import WriterGrant, sign_statement
from backuppeer.wire.messages import HeadState

MASTER = b"w" * 32
DEVICES = [SigningKey.from_seed(bytes([n]) * 32) for n in range(3)]
NAME = RepositoryId(b"r" * 16)


def grant(epoch: int, device: int, *, name=NAME, by=None) -> bytes:
    said = WriterGrant(repository=name, epoch=epoch, device=DeviceId(DEVICES[device].public), time_ms=86_400_000)
    return sign_statement(said, by or derive_authority(MASTER))


def keys_of(own: bytes) -> HomeKeys:
    working = derive_working(MASTER, 1)
    return HomeKeys(
        working=working,
        authority=derive_authority(MASTER).public,
        identity=derive_identity(working),
        device=DEVICES[0],
        transport_seed=bytes(32),
        grant=own,
        repository=NAME if own else None,
    )


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.db")
    yield made
    made.close()


@settings(deadline=None)
@given(own=st.integers(0, 4), seen=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), max_size=6))
def test_a_device_writes_unless_a_higher_grant_or_an_equal_one_of_another_was_seen(tmp_path_factory, own, seen):
    state = State(tmp_path_factory.mktemp("writer") / "state.db")
    keys = keys_of(grant(own, 0) if own else b"")
    for pair in seen:
        Writer(state, keys).see(grant(*pair))
    writer = Writer(state, keys)
    above = any(epoch > own for epoch, _ in seen)
    beside = any(epoch == own and device for epoch, device in seen)
    assert writer.may_write is (own > 0 and not above and not beside)
    assert writer.highest_epoch == max([own, *(epoch for epoch, _ in seen)])
    assert bool(writer.describe()) is not writer.may_write
    state.close()


def test_each_obstacle_is_told_by_name_and_with_the_way_out(state):
    told = []
    for own, seen in ((b"", None), (grant(1, 0), grant(2, 1)), (grant(2, 0), grant(2, 1))):
        writer = Writer(state, keys_of(own))
        if seen:
            writer.see(seen)
        with pytest.raises(RefusedError) as caught:
            writer.check()
        assert "`backup-peer recover --take-over`" in caught.value.hint
        assert caught.value.exit_code is ExitCode.REFUSED
        told.append(caught.value.message)
    assert "may only read" in told[0]
    assert told[1].startswith("taken over: since 1970-01-02")
    assert "two machines took over" in told[2]
    Writer(state, keys_of(grant(3, 0))).check()


def test_only_our_authority_says_who_writes_and_a_hello_of_others_says_nothing(state):
    writer = Writer(state, keys_of(grant(1, 0)))
    forged = grant(2, 1, by=DEVICES[1])
    with pytest.raises(AuthenticationFault):
        writer.see(forged)
    shown = [forged, b"", b"rubbish", grant(2, 1, name=RepositoryId(b"x" * 16))]
    writer.notice([HeadState(b"a" * 16, b"", one) for one in shown])
    assert writer.may_write
    writer.notice([HeadState(b"a" * 16, b"", grant(2, 1))])
    assert not writer.may_write
