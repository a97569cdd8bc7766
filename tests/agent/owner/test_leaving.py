"""Hosts with which our own person ended: no backup goes there, and what takes that back is named as it can be typed."""

from types import SimpleNamespace

import pytest

from backuppeer.agent.owner.leaving import choose_staying, describe_ended
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import RefusedError
from backuppeer.ids import AgreementId, PeerId

OURS = PeerId(b"o" * 32)


def host(number: int, name: str) -> Partner:
    return Partner(AgreementId(bytes([number]) * 16), PeerId(bytes([number]) * 32), name, None)


class Deeds:
    """Our own notice with hosts, by agreement."""

    def __init__(self, *ended: Partner) -> None:
        self.ended = {partner.agreement for partner in ended}

    def ending(self, agreement):
        return SimpleNamespace(notice=SimpleNamespace(party=OURS)) if agreement in self.ended else None


def test_who_ended_with_all_hosts_is_told_each_command_that_takes_it_back():
    alice, eve = host(1, "alice"), host(2, "old eve")
    with pytest.raises(RefusedError) as told:
        choose_staying(Deeds(alice, eve), [alice, eve])
    assert "ended the agreement with alice, old eve" in told.value.message
    assert "`backup-peer peers renew alice` or `backup-peer peers renew 'old eve'` takes that back" in told.value.hint


def test_who_ended_with_one_host_is_told_its_command_and_what_else_there_is():
    alice, eve = host(1, "alice"), host(2, "old eve")
    assert choose_staying(Deeds(eve), [alice, eve]) == [alice]
    (left,) = describe_ended(Deeds(eve), [alice, eve], "or name another")
    assert left.name == "old eve"
    assert left.hint == "`backup-peer peers renew 'old eve'` takes that back; or name another"
