"""What is announced in a network and heard there: real multicast DNS, on loopback alone."""

import asyncio
import secrets
import socket
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface
from types import SimpleNamespace

import ifaddr
import pytest
from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSQuestion, DNSService, DNSText
from zeroconf import const as dns

from backuppeer.errors import Unavailable
from backuppeer.limits import LAN_INTERFACES, LAN_PLACE_ADDRESSES, LAN_PLACES
from backuppeer.signaling.lan.interfaces import Interface, find_interface, is_near, list_interfaces
from backuppeer.signaling.lan.multicast import SERVICE, Place, announce, hear

LOOPBACK = Interface("lo", (ip_interface("127.0.0.1/8"),))


def service():
    """A service type of this test alone: others use the same loopback at the same time."""
    return f"_bp{secrets.token_hex(6)}._tcp.local."


@asynccontextmanager
async def announced(port, name):
    announcement = await announce(LOOPBACK, port, service=name)
    try:
        yield
    finally:
        await announcement.close()


async def listen(name, *, enough=1, for_s=20.0, during=None):
    """Return the places heard of, as soon as there are enough."""
    heard, done = [], asyncio.Event()

    def take(place):
        heard.append(place)
        if len(heard) >= enough:
            done.set()

    hearing = asyncio.create_task(hear([LOOPBACK], take, for_s=for_s, service=name))
    waiting = asyncio.create_task(done.wait())
    # Said again and again, as nobody hears it before the ear is open.
    while not (await asyncio.wait({hearing, waiting}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED))[0]:
        if during is not None:
            await during()
    for task in (hearing, waiting):
        task.cancel()
    await asyncio.gather(hearing, waiting, return_exceptions=True)
    return heard


class Crier:
    """Whoever says whatever it likes in the network, in packets of its own making."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

    def cry(self, name, instances, *, port=9, address="127.0.0.1", text=b""):
        """Announce services; a packet holds as many as it can."""
        out = DNSOutgoing(dns._FLAGS_QR_RESPONSE | dns._FLAGS_AA)
        for instance in instances:
            full, ttl = f"{instance}.{name}", 120
            for record in (
                DNSPointer(name, dns._TYPE_PTR, dns._CLASS_IN, ttl, full),
                DNSService(full, dns._TYPE_SRV, dns._CLASS_IN, ttl, 0, 0, port, full),
                DNSText(full, dns._TYPE_TXT, dns._CLASS_IN, ttl, text),
                DNSAddress(full, dns._TYPE_A, dns._CLASS_IN, ttl, ip_address(address).packed),
            ):
                out.add_answer_at_time(record, 0)
        for packet in out.packets():
            self.send(packet)

    def send(self, packet):
        self._socket.sendto(packet, ("224.0.0.251", 5353))

    def close(self):
        self._socket.close()


@pytest.fixture
def crier():
    made = Crier()
    yield made
    made.close()


def test_a_door_that_is_announced_is_heard_of_with_address_and_port_alone():
    name = service()

    async def scenario():
        async with announced(4711, name):
            return await listen(name)

    assert asyncio.run(scenario()) == [Place(("127.0.0.1",), 4711)]


def test_an_announcement_says_nothing_of_person_or_machine(monkeypatch):
    from zeroconf.asyncio import AsyncZeroconf  # noqa: PLC0415 - only here

    said = []

    async def register(self, info, **_):
        said.append(info)

        async def nothing():
            return None

        return nothing()

    monkeypatch.setattr(AsyncZeroconf, "async_register_service", register)

    async def scenario():
        for _ in range(2):
            await (await announce(LOOPBACK, 4711, service=SERVICE)).close()

    asyncio.run(scenario())
    names = {info.name.removesuffix(f".{SERVICE}") for info in said}
    assert len(names) == 2, "a fresh name each time"
    assert all(len(bytes.fromhex(each)) == 8 for each in names)
    assert {info.server for info in said} == {f"{each}.local." for each in names}
    assert all(info.properties == {} and socket.gethostname() not in info.name for info in said)


def test_of_ten_thousand_services_a_few_are_followed_up(crier):
    name = service()

    async def flood():
        await asyncio.to_thread(_cry_many)

    def _cry_many():
        for first in range(0, 10_000, 250):
            crier.cry(name, range(first, first + 250), port=first + 1)

    heard = asyncio.run(listen(name, enough=LAN_PLACES + 1, for_s=2.0, during=flood))
    assert 0 < len(heard) <= LAN_PLACES


def test_text_is_not_read_however_long_it_is_and_broken_packets_hurt_nobody(crier):
    name = service()

    async def cry():
        for packet in (b"", b"\0" * 12, b"\xff" * 512, bytes(range(256)) * 30):
            crier.send(packet)
        crier.cry(name, ["huge"], port=78, text=(b"\xff" + b"x" * 255) * 32)
        crier.cry(name, ["big"], port=77, text=b"\xff" + b"x" * 255)

    heard = asyncio.run(listen(name, during=cry))
    assert Place(("127.0.0.1",), 77) in heard


@pytest.mark.parametrize(("address", "port"), [("192.0.2.55", 80), ("8.8.8.8", 53), ("127.0.0.1", 0), ("224.0.0.1", 9)])
def test_an_address_of_another_network_or_no_port_is_no_place(crier, address, port):
    name = service()

    async def cry():
        crier.cry(name, ["false"], port=port, address=address)
        crier.cry(name, ["true"], port=4711)

    assert asyncio.run(listen(name, during=cry)) == [Place(("127.0.0.1",), 4711)]


def test_one_place_under_many_names_is_one(crier):
    name = service()

    async def cry():
        crier.cry(name, range(20), port=4711)

    assert asyncio.run(listen(name, enough=2, for_s=1.0, during=cry)) == [Place(("127.0.0.1",), 4711)]


def test_of_one_service_so_many_addresses_are_dialled(crier):
    name = service()

    async def cry():
        for number in range(LAN_PLACE_ADDRESSES + 3):
            crier.cry(name, ["one"], port=4711, address=f"127.0.0.{number + 1}")

    for place in asyncio.run(listen(name, during=cry)):
        assert 1 <= len(place.addresses) <= LAN_PLACE_ADDRESSES


class Asker(asyncio.DatagramProtocol):
    """Whoever asks from an address and any port: what is found is said to it alone, wherever it is (RFC 6762, 6.7)."""

    def __init__(self):
        self.answers = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.answers.put_nowait(data)


@asynccontextmanager
async def asker(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Asker, sock=sock)
    try:
        yield transport, protocol.answers
    finally:
        transport.close()


def test_another_network_that_asks_is_told_nothing():
    name, own = service(), Interface("lo", (ip_interface("127.0.0.1/32"),))

    async def scenario():
        async with asker("127.0.0.2") as (stranger, told), asker("127.0.0.1") as (neighbour, answers):
            announcement = await announce(own, 4711, service=name)
            try:
                for number, transport in enumerate((stranger, neighbour), 1):
                    out = DNSOutgoing(dns._FLAGS_QR_QUERY, multicast=False, id_=number)
                    out.add_question(DNSQuestion(name, dns._TYPE_PTR, dns._CLASS_IN))
                    transport.sendto(out.packets()[0], ("224.0.0.251", 5353))
                assert name.partition(".")[0].encode() in await asyncio.wait_for(answers.get(), 10)
            finally:
                await announcement.close()
            assert told.empty()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("source", "near"),
    [
        (("192.168.1.7", 5353), True),
        (("10.9.0.2", 5353), False),
        (("127.0.0.1", 5353), False),
        (("169.254.1.1", 5353), False),
        (("::ffff:192.168.1.7", 5353, 0, 0), True),
        (("::ffff:10.9.0.2", 5353, 0, 0), False),
        (("fd00::7", 5353, 0, 0), True),
        (("2001:db8::7", 5353, 0, 0), False),
        (("fe80::7", 5353, 0, 3), True),
        (("fe80::7", 5353, 0, 4), False),
        (("fe80::7", 5353, 0, 0), False),
        (("junk", 5353), False),
    ],
)
def test_what_a_packet_is_from_tells_whether_it_is_heard(source, near):
    home = Interface("home", (ip_interface("192.168.1.1/24"), ip_interface("fd00::1/64")), 3)
    assert is_near(source, [home, Interface("unknown", ())]) is near


def test_without_a_network_nobody_is_asked():
    with pytest.raises(Unavailable, match="in no local network"):
        asyncio.run(hear([], print, for_s=1.0))


def test_a_network_that_is_gone_is_told_as_such():
    gone = Interface("gone", (ip_interface("203.0.113.77/24"),))
    with pytest.raises(Unavailable, match="can't be asked"):
        asyncio.run(announce(gone, 4711))


def adapters(*cards):
    return [
        SimpleNamespace(name=f"card{number}", index=number + 1, ips=[ifaddr.IP(ip, prefix, "") for ip, prefix in card])
        for number, card in enumerate(cards)
    ]


def names(monkeypatch, binds, *cards):
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters(*cards))
    return [[str(own) for own in interface.addresses] for interface in list_interfaces(binds)]


EVERYWHERE = ["0.0.0.0", "::"]  # noqa: S104 - as homes are set up


def test_networks_are_those_of_cards_with_addresses_that_peers_may_dial(monkeypatch):
    lo, home = [("127.0.0.1", 8), (("::1", 0, 0), 128)], [("192.168.7.2", 24), (("fd00::2", 0, 0), 64)]
    local = [("169.254.3.4", 16), (("fe80::1%card", 0, 3), 64)]
    tunnel, host = [("10.8.0.1", 32)], [("10.9.0.0", 31)]
    shown = names(monkeypatch, EVERYWHERE, lo, home, local, tunnel, host, [("junk", 24)])
    assert shown == [["192.168.7.2/24", "fd00::2/64"]]


def test_only_addresses_that_this_home_listens_on_are_shown(monkeypatch):
    cards = [("127.0.0.1", 8)], [("192.168.7.2", 24), (("fd00::2", 0, 0), 64)], [("10.0.0.2", 24)]
    assert names(monkeypatch, ["192.168.7.2"], *cards) == [["192.168.7.2/24"]]
    assert names(monkeypatch, ["::"], *cards) == [["fd00::2/64"]]
    assert names(monkeypatch, ["127.0.0.1"], *cards) == [["127.0.0.1/8"]], "tests: loopback alone"


def test_a_machine_with_many_networks_shows_itself_in_some(monkeypatch):
    cards = [[(f"10.{number}.0.1", 24)] for number in range(LAN_INTERFACES + 3)]
    assert len(names(monkeypatch, EVERYWHERE, *cards)) == LAN_INTERFACES


def test_a_system_that_does_not_tell_its_cards_has_no_networks(monkeypatch):
    def refuse():
        raise OSError(1, "not permitted")

    monkeypatch.setattr(ifaddr, "get_adapters", refuse)
    assert list_interfaces(EVERYWHERE) == []


def test_an_address_belongs_to_the_card_whose_network_holds_it():
    home, work = (Interface(name, (ip_interface(f"10.{name}.0.1/16"),)) for name in "12")
    assert find_interface(ip_address("10.2.9.9"), [home, work]) is work
    assert find_interface(ip_address("10.3.9.9"), [home, work]) is None
    assert find_interface(ip_address("::1"), [home, work]) is None
