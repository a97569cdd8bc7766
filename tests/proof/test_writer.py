"""Heads and the grants behind them."""

import msgspec
import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ProtocolViolation
from backuppeer.proof.statements import ZERO_HASH, Head, WriterGrant, sign_statement
from backuppeer.proof.writer import verify_head

AUTHORITY, DEVICE, OTHER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
GRANT = WriterGrant(repository=bytes(16), epoch=3, device=DEVICE.public, time_ms=5)
HEAD = Head(
    repository=bytes(16),
    epoch=3,
    device=DEVICE.public,
    number=1,
    previous=ZERO_HASH,
    index=bytes(32),
    snapshots_root=bytes(32),
    packs_root=bytes(32),
    time_ms=6,
)
SIGNED_GRANT = sign_statement(GRANT, AUTHORITY)
SIGNED_HEAD = sign_statement(HEAD, DEVICE)


def test_head_of_the_granted_device_is_good():
    assert verify_head(SIGNED_HEAD, SIGNED_GRANT, AUTHORITY.public) == HEAD


def test_grant_by_somebody_else_is_refused():
    with pytest.raises(AuthenticationFault):
        verify_head(SIGNED_HEAD, sign_statement(GRANT, OTHER), AUTHORITY.public)
    with pytest.raises(AuthenticationFault):
        verify_head(SIGNED_HEAD, SIGNED_GRANT, OTHER.public)


@pytest.mark.parametrize("change", [{"repository": b"\1" * 16}, {"epoch": 2}, {"epoch": 4}], ids=str)
def test_head_of_another_repository_or_epoch_than_granted_is_refused(change):
    head = sign_statement(msgspec.structs.replace(HEAD, **change), DEVICE)
    with pytest.raises(AuthenticationFault):
        verify_head(head, SIGNED_GRANT, AUTHORITY.public)


def test_head_by_another_device_is_refused():
    head = sign_statement(msgspec.structs.replace(HEAD, device=OTHER.public), OTHER)
    with pytest.raises(AuthenticationFault):
        verify_head(head, SIGNED_GRANT, AUTHORITY.public)


def test_head_that_names_the_device_but_is_not_signed_by_it_is_refused():
    forged = SIGNED_HEAD[:-64] + sign_statement(msgspec.structs.replace(HEAD, device=OTHER.public), OTHER)[-64:]
    with pytest.raises(AuthenticationFault):
        verify_head(forged, SIGNED_GRANT, AUTHORITY.public)


def test_grant_and_head_in_each_others_place_are_refused():
    with pytest.raises(ProtocolViolation):
        verify_head(SIGNED_GRANT, SIGNED_HEAD, AUTHORITY.public)
    with pytest.raises(ProtocolViolation):
        verify_head(SIGNED_GRANT, SIGNED_GRANT, AUTHORITY.public)


@pytest.mark.parametrize("junk", [b"", b"\0" * 100, SIGNED_HEAD[:-1], SIGNED_HEAD + b"\0"], ids=len)
def test_junk_in_place_of_a_head_is_refused(junk):
    with pytest.raises((ProtocolViolation, AuthenticationFault)):
        verify_head(junk, SIGNED_GRANT, AUTHORITY.public)
