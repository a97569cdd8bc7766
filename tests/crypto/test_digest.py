"""Public and keyed hashes."""

import json
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.digest import Domain, hash_bytes, hash_keyed, hash_pieces
from backuppeer.errors import LocalError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "keys.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=lambda v: f"{v['domain']}-{v['data']}")
def test_hash_of_a_domain_is_that_of_the_vector(vector):
    domain = Domain[vector["domain"].upper()]
    assert bytes(domain).hex() == vector["key"]
    assert hash_bytes(domain, bytes.fromhex(vector["data"])).hex() == vector["hash"]


def test_every_domain_has_its_own_key_of_32_bytes():
    assert len({bytes(domain) for domain in Domain}) == len(Domain)
    assert all(len(domain) == 32 and domain.startswith(b"backuppeer v1 ") for domain in Domain)


def test_keyed_hash_is_the_official_blake3_vector():
    # github.com/BLAKE3-team/BLAKE3 test_vectors.json: input_len 1, keyed_hash, first 32 bytes.
    key = b"whats the Elvish word for friend"
    assert hash_keyed(key, b"\0").hex() == "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keyed_hash_refuses_a_key_of_another_length(length):
    with pytest.raises(LocalError):
        hash_keyed(bytes(length), b"")


@given(data=st.binary(max_size=300), size=st.integers(1, 70), wrap=st.sampled_from([bytes, bytearray, memoryview]))
def test_pieces_are_hashed_one_by_one_from_any_buffer(data, size, wrap):
    expected = [blake3(data[i : i + size], key=bytes(Domain.SET_LEAF)).digest() for i in range(0, len(data), size)]
    assert hash_pieces(Domain.SET_LEAF, wrap(data), size) == b"".join(expected)
