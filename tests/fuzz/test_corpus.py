"""What fuzzing found stays harmless: every kept input, and each with a little damage, again at each commit."""

import random
from pathlib import Path

import pytest

from fuzz.mutation import mutate_msgpack
from fuzz.seeds import SEEDS, write_seeds
from fuzz.targets import TARGETS, feed

CORPUS = Path(__file__).parent / "corpus"
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of re, about brackets in somebody's patterns


def kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def damaged(data: bytes, seed: int) -> bytes:
    rng, changed = random.Random(seed), bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed) + 1)
        changed[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_ends_in_a_value_or_in_an_error_of_ours(name):
    for data in kept(name):
        feed(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_with_a_little_damage_end_so_too(name):
    for seed, data in enumerate(kept(name)):
        feed(TARGETS[name], damaged(data, seed))


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.body_at is not None])
def test_kept_inputs_with_one_value_changed_end_so_too(name):
    target, changed = TARGETS[name], 0
    for seed, data in enumerate(kept(name)):
        made = mutate_msgpack(data, target.most_bytes, seed, at=target.body_at, length_at=target.length_at)
        if made is not None:
            feed(target, made)
            changed += 1
    assert changed


def test_what_honest_writers_write_is_read(tmp_path):
    write_seeds(tmp_path)
    for name in (
        *("pack", "blob", "tree", "snapshot", "listing", "knock", "signaling", "worker", "hint", "removal"),
        "charge",
        "note",
    ):
        results = [is_read(TARGETS[name], path.read_bytes()) for path in (tmp_path / name).iterdir()]
        assert any(results), name
    assert SEEDS.keys() == TARGETS.keys() == {path.name for path in CORPUS.iterdir()}


def is_read(target, data: bytes) -> bool:
    try:
        target.read(data)
    except target.allowed:
        return False
    return True
