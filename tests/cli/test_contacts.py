"""Where a host is, as one word: what `id --where` prints and `recover --peer` takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.contacts import format_contact, parse_contact
from backuppeer.control.recovering import Place
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import PEER_ADDRESSES
from backuppeer.transport.addresses import format_address

HOST = format_peer_id(PeerId(bytes(range(32))))
KEY = "0123456789abcdef" * 4

addresses = st.builds(format_address, st.ip_addresses(), st.integers(1, 0xFFFF))


@given(st.binary(min_size=32, max_size=32), st.lists(addresses, min_size=1, max_size=PEER_ADDRESSES))
def test_what_is_printed_is_read_as_the_same_place(key, listed):
    place = Place(peer_id=HOST, transport=key.hex(), addresses=listed)
    assert parse_contact(format_contact(place)) == place


def test_letters_may_be_upper_case_as_some_programs_make_them():
    assert parse_contact(f"{HOST.upper()}@{KEY.upper()}@192.0.2.7:5") == Place(
        peer_id=HOST, transport=KEY, addresses=["192.0.2.7:5"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HOST}@192.0.2.7:5", "the key of its connection is missing"),
        (f"{HOST[:20]}@{KEY}@192.0.2.7:5", "only the start of an id"),
        (f"{HOST[:-1]}x@{KEY}@192.0.2.7:5", "not a peer id"),
        (f"{HOST}@{KEY[:-1]}@192.0.2.7:5", "not the key of a connection"),
        (f"{HOST}@{KEY[:-1]}x@192.0.2.7:5", "not the key of a connection"),
        (f"{HOST}@{KEY}@", "1 to 4 addresses, not 0"),
        (f"{HOST}@{KEY}@{','.join(['192.0.2.7:5'] * 5)}", "1 to 4 addresses, not 5"),
        (f"{HOST}@{KEY}@alice.example:5", "not an address"),
        (f"{HOST}@{KEY}@192.0.2.7", "not an address"),
        (f"{HOST}@{KEY}@192.0.2.7:0", "has no port"),
        ("", "not a peer id"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text, said):
    with pytest.raises(UserError) as told:
        parse_contact(text)
    assert said in told.value.message
    assert told.value.hint
