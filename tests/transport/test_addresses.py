from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import ProtocolViolation
from backuppeer.limits import PEER_ADDRESSES
from backuppeer.transport.addresses import format_address, parse_address, select_dialable


@given(st.ip_addresses(), st.integers(0, 65535))
def test_format_and_parse_are_inverse(ip, port):
    assert parse_address(format_address(ip, port)) == (ip, port)


@given(st.text())
def test_any_text_parses_or_is_a_protocol_violation(text):
    with suppress(ProtocolViolation):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    ["", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "::1:5", "[1.2.3.4]:5", "[fe80::1%eth0]:5", "h:1",
     "1.2.3.4:\u0665", "[::1]:" + "0" * 80, "1.2.3.4:-1"],
)  # fmt: skip
def test_malformed_addresses_are_refused(text):
    with pytest.raises(ProtocolViolation):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "169.254.1.1:80", "[fe80::1]:80", "224.0.0.1:80",
     "[ff02::1]:80", "0.0.0.0:80", "[::]:80", "255.255.255.255:80", "8.8.8.8:0", "name:80"],
)  # fmt: skip
def test_a_peer_can_not_make_us_dial(text):
    assert select_dialable([text]) == []


def test_private_and_public_addresses_are_dialled_once_each_and_few():
    many = [f"192.168.1.{n}:5" for n in range(1, 20)]
    assert select_dialable(["192.168.1.1:5", *many]) == many[:PEER_ADDRESSES]
    assert select_dialable(["[::ffff:8.8.8.8]:5", "8.8.8.8:5"]) == ["8.8.8.8:5"]


def test_loopback_is_dialled_where_it_is_allowed():
    assert select_dialable(["127.0.0.1:5", "[::1]:5"], may_loopback=True) == ["127.0.0.1:5", "[::1]:5"]
