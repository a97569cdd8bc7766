"""Hosts with which our own person ended: no backup goes there, and what takes that back is named as it can be typed."""

from types import SimpleNamespace

import pytest

from backuppeer.agent.owner.leaving import choose_staying, describe_ended, has_staying
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import RefusedError
from backuppeer.ids import AgreementId, PeerId


def host(number: int, name: str) -> Partner:
    return Partner(AgreementId(bytes([number]) * 16), PeerId(bytes([number]) * 32), name, None)


class Deeds:
    """Our own last notices to hosts, by agreement: with some they end, with one it was taken back."""

    def __init__(self, *ended: Partner, taken_back: Partner | None = None) -> None:
        self.last = {partner.agreement: [1] for partner in ended}
        if taken_back is not None:
            self.last[taken_back.agreement] = [2, 1]

    def own_notices(self, agreement):
        return [
            SimpleNamespace(notice=SimpleNamespace(number=number, ends=number % 2 == 1))
            for number in self.last.get(agreement, [])
        ]


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


def test_where_the_last_word_was_to_go_on_backups_go_on():
    alice, eve = host(1, "alice"), host(2, "old eve")
    assert choose_staying(Deeds(taken_back=alice), [alice]) == [alice]
    deeds = Deeds(eve, taken_back=alice)
    assert (has_staying(deeds, [eve]), has_staying(deeds, [alice, eve])) == (False, True)
