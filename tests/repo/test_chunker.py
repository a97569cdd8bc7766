"""Chunks: they join to the whole, keep their limits, and depend on content and seed alone."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.limits import CHUNK_AVERAGE_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES
from backuppeer.repo.chunker import Chunker
from repo.building import KEYS, noise

MANY = noise("chunks", 48 << 20)


@given(st.integers(0, 3 << 20), st.integers(0, 2**64 - 1))
@settings(max_examples=15, deadline=None)
def test_chunks_join_to_the_whole_for_every_seed(size, seed):
    data = MANY[:size]
    chunks = [bytes(c) for c in Chunker(seed).split(data)]
    assert b"".join(chunks) == data
    assert all(0 < len(c) <= CHUNK_MAX_BYTES for c in chunks)
    assert all(len(c) >= CHUNK_MIN_BYTES for c in chunks[:-1])


@pytest.mark.parametrize("size", [1, CHUNK_MIN_BYTES - 1, CHUNK_MIN_BYTES])
def test_up_to_the_minimum_a_file_is_one_chunk(size):
    assert [bytes(c) for c in Chunker(7).split(MANY[:size])] == [MANY[:size]]


def test_an_empty_file_has_no_chunks():
    assert list(Chunker(7).split(b"")) == []


def test_sizes_lie_around_the_average_of_the_design():
    sizes = [len(c) for c in Chunker(KEYS.chunker_seed).split(MANY)]
    mean = sum(sizes) / len(sizes)
    assert 0.75 * CHUNK_AVERAGE_BYTES < mean < 1.25 * CHUNK_AVERAGE_BYTES


def test_a_long_run_of_zeros_is_cut_at_the_maximum():
    assert {len(c) for c in Chunker(5).split(bytes(3 * CHUNK_MAX_BYTES))} == {CHUNK_MAX_BYTES}


def test_streams_are_cut_where_buffers_are_and_buffers_of_any_kind_alike():
    chunker = Chunker(KEYS.chunker_seed)
    data = MANY[: 20 << 20]
    from_stream = [bytes(c) for c in chunker.split_stream(io.BytesIO(data))]
    assert from_stream == [bytes(c) for c in chunker.split(data)]
    assert from_stream == [bytes(c) for c in chunker.split(memoryview(bytearray(data)))]


def test_an_insertion_changes_only_chunks_around_it():
    data = MANY[: 20 << 20]
    before = {bytes(c) for c in Chunker(9).split(data)}
    after = {bytes(c) for c in Chunker(9).split(data[: 7 << 20] + b"inserted" + data[7 << 20 :])}
    assert len(after - before) <= 3


def test_another_seed_cuts_elsewhere():
    data = MANY[: 20 << 20]
    assert {len(c) for c in Chunker(1).split(data)} != {len(c) for c in Chunker(2**63 + 2).split(data)}
