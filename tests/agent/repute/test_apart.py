"""Which hosts are told to be one: by what they signed and did, never by what a thousand houses share."""

import random
from types import SimpleNamespace

import pytest

from agent.viewers import Viewer
from backuppeer.agent.repute.apart import find_networks
from backuppeer.ids import PeerId
from backuppeer.limits import REGIONS_KEPT
from backuppeer.trust.availability import Windows
from backuppeer.trust.hearsay import Heard

ALICE, BOB, CAROL, ME = (PeerId(letter * 32) for letter in (b"a", b"b", b"c", b"m"))


@pytest.fixture
def world(tmp_path):
    made = Viewer(tmp_path)
    made.apart = made.views.apart
    yield made
    made.close()


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        (["8.8.4.4:1", "8.8.4.99:2"], {"8.8.4.0/24"}),
        (["[2a00:1450:4001:81b::1]:1", "[2a00:1450:4001:1::2]:1"], {"2a00:1450:4001::/48"}),
        (["[::ffff:8.8.4.4]:1"], {"8.8.4.0/24"}),
        (["192.168.1.2:1", "10.0.0.1:1", "172.16.3.4:1", "127.0.0.1:1", "100.64.1.1:1", "169.254.1.1:1"], set()),
        (["[::1]:1", "[fd00::1]:1", "[fe80::1]:1", "224.0.0.1:1", "banana"], set()),
    ],
)
def test_only_addresses_of_the_open_internet_tell_of_a_network(addresses, networks):
    assert find_networks(addresses) == networks


def test_hosts_of_one_network_are_one_and_those_of_one_house_address_are_not(world):
    world.places |= {ALICE: ["8.8.4.4:1"], BOB: ["192.168.1.2:1", "8.8.4.5:1"], CAROL: ["192.168.1.2:1"]}
    assert world.apart.find_ties(ALICE, [ALICE, BOB, CAROL]) == [(BOB, "the same network")]
    assert world.apart.find_spare([CAROL, ALICE, BOB]) == [(BOB, ALICE, "the same network")]
    assert world.apart.find_spare([BOB, CAROL]) == []


def test_a_label_of_a_place_ties_and_one_of_half_a_continent_does_not(world):
    places = ("DE-BER", "DE-BE", "US-CA", "SA-01", "EU-BER")
    wide = ("US-W", "US-NW", "EU-DE", "EU-SE", "EU", "DE", "")
    for region in (*places, *wide):
        world.apart.note_region(ALICE, region)
        world.apart.note_region(BOB, region)
        assert bool(world.apart.find_ties(ALICE, [BOB])) == (region in places), region
    world.apart.note_region(ALICE, "DE-BE")
    world.apart.note_region(BOB, "DE-HH")
    assert world.apart.find_ties(ALICE, [BOB]) == []


def test_regions_of_so_many_hosts_are_kept_and_the_oldest_go(world):
    for number in range(REGIONS_KEPT + 1):
        world.apart.note_region(PeerId(number.to_bytes(32, "big")), "DE-BER")
    assert world.apart.trace(PeerId((0).to_bytes(32, "big"))).region == ""
    assert world.apart.trace(PeerId((1).to_bytes(32, "big"))).region == "DE-BER"


def test_strangers_for_whom_the_same_peer_alone_stands_are_one_and_friends_are_not(world):
    world.standing.heard = lambda _: Heard(1.0)
    world.views.explaining.paths = lambda peer: [SimpleNamespace(peers=(ME, CAROL, peer), kind="vouch", amount=1.0)]
    assert [host for host, _ in world.apart.find_ties(ALICE, [BOB])] == [BOB]
    world.state.meet(BOB, 1, verified=True)
    assert world.apart.find_ties(ALICE, [BOB]) == []


def test_hosts_that_are_down_at_the_same_hours_for_a_month_are_one(world):
    source, seen = random.Random(7), (1 << 240) - 1
    up = sum((source.random() < 0.8) << window for window in range(240))
    other = sum((source.random() < 0.8) << window for window in range(240))
    masks = {ALICE: Windows(up, seen), BOB: Windows(up, seen), CAROL: Windows(other, seen)}
    world.standing.windows = masks.__getitem__
    assert world.apart.find_spare([ALICE, BOB, CAROL]) == [(BOB, ALICE, "both were up and down at the same hours")]


def test_who_ties_itself_to_several_falls_out_and_not_they(world):
    world.places |= {ALICE: ["8.8.4.4:1"], BOB: ["1.1.1.1:1"], CAROL: ["8.8.4.5:1", "1.1.1.2:1"]}
    for hosts in ([ALICE, BOB, CAROL], [CAROL, BOB, ALICE]):
        [(host, _, why)] = world.apart.find_spare(hosts)
        assert (host, why) == (CAROL, "the same network")
