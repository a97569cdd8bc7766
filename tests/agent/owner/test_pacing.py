"""Who is asked for the next pack: a model of hosts that deliver at some rate, in time that the model sets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.loops import SetClock
from backuppeer.agent.owner.pacing import Pacer, SlowError
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import AgreementId
from backuppeer.limits import PACE_AGAIN_S

PACK = 16_000_000
AT_ONCE = 4


def host(number):
    return AgreementId(bytes([number]) * 16)


class Model:
    """Hosts that share what they deliver, bytes a second, among the requests that are under way there."""

    def __init__(self, rates):
        self.clock, self.rates = SetClock(), {host(number): rate for number, rate in enumerate(rates)}
        self.clock.ms = 0
        self.pacer = Pacer(self.clock)
        self.under_way = []  # [host, bytes left, the request]
        self.served = dict.fromkeys(self.rates, 0)

    def choose(self):
        return min(self.rates, key=lambda each: self.pacer.wait_s(each, PACK))

    def ask(self, who):
        request = self.pacer.request(who, PACK)
        request.__enter__()
        self.under_way.append([who, PACK, request])

    def pass_until_one_ends(self):
        speeds = [self.rates[who] / sum(other[0] == who for other in self.under_way) for who, *_ in self.under_way]
        took_s = min(row[1] / speed for row, speed in zip(self.under_way, speeds, strict=True))
        self.clock.ms += took_s * 1000
        for row, speed in zip(self.under_way, speeds, strict=True):
            row[1] -= speed * took_s
        first = min(self.under_way, key=lambda row: row[1])
        self.under_way.remove(first)
        first[2].__exit__(None, None, None)
        self.served[first[0]] += 1

    def too_slow(self):
        self.clock.ms += 10_000
        return SlowError("slow")

    def fetch(self, packs):
        for number in range(packs):
            if number >= AT_ONCE:
                self.pass_until_one_ends()
            self.ask(self.choose())
        while self.under_way:
            self.pass_until_one_ends()
        return self.clock.ms / 1000


@settings(deadline=None)
@given(st.lists(st.integers(1_000_000, 200_000_000), min_size=1, max_size=4))
def test_the_work_is_shared_by_what_each_host_delivers(rates):
    model = Model(rates)
    took_s = model.fetch(200)
    # Nobody knows at first who is slow: one pack of each, and what was under way with it at the end.
    first_s = max(PACK / rate for rate in rates)
    assert took_s <= 1.5 * 200 * PACK / sum(rates) + 3 * first_s
    fastest = max(range(len(rates)), key=rates.__getitem__)
    assert model.served[host(fastest)] >= 0.6 * 200 * rates[fastest] / sum(rates)


def test_equal_hosts_are_asked_in_turns_before_anything_is_known():
    model = Model([10_000_000] * 4)
    chosen = []
    for _ in range(8):
        chosen.append(model.choose())
        model.ask(chosen[-1])
    assert sorted(chosen) == sorted([host(number) for number in range(4)] * 2)


def test_a_host_that_became_slow_gets_less_and_is_tried_again_when_it_was_long_not_asked():
    model = Model([50_000_000, 50_000_000])
    model.fetch(20)
    model.rates[host(0)] = 500_000
    before = model.served[host(0)]
    model.fetch(60)
    assert model.served[host(0)] - before < 10
    assert model.choose() == host(1)
    model.clock.ms += PACE_AGAIN_S * 1000 + 1
    model.ask(host(1))
    assert model.choose() == host(0), "perhaps it is fast again"


def test_a_request_that_failed_says_nothing_and_one_left_for_slowness_says_the_worst():
    model = Model([50_000_000, 50_000_000])
    model.fetch(10)
    with pytest.raises(PeerUnreachable), model.pacer.request(host(0), PACK):
        raise PeerUnreachable("away")
    assert model.pacer.wait_s(host(0), PACK) == 0
    for _ in range(30):
        with pytest.raises(SlowError), model.pacer.request(host(1), PACK):
            raise model.too_slow()
    assert model.pacer.wait_s(host(1), PACK) > 100
