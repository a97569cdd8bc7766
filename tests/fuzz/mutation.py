"""Changes one value inside a MessagePack body and writes it again whole.

The decoders of msgspec are C: a fuzzer sees nothing of their insides, and bytes changed at random are
rarely MessagePack still.
"""

import random
from collections.abc import Callable

import msgspec

_INTS = (0, 1, -1, 127, 128, 255, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
_DEEP = 700


def mutate_msgpack(data: bytes, most_bytes: int, seed: int, *, at: int, length_at: int | None) -> bytes | None:
    """Return `data` with one value changed in the body that begins at `at`; None where no body is.

    length_at: where the body's length stands as u32, counted from behind it; None if nowhere.
    """
    try:
        body = msgspec.msgpack.decode(data[at:])
        body = _change(body, random.Random(seed))
        packed = msgspec.msgpack.encode(body)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    head = data[:at]
    if length_at is not None:
        length = (at - length_at - 4 + len(packed)).to_bytes(4, "big")
        head = head[:length_at] + length + head[length_at + 4 :]
    made = head + packed
    return made if len(made) <= most_bytes else None


def _change(value: object, rng: random.Random) -> object:
    """Walk down at random, and put something else where the walk ends."""
    if isinstance(value, list) and value and rng.random() < 0.9:
        return _change_list(list(value), rng)
    if isinstance(value, dict) and value and rng.random() < 0.95:
        return _change_dict(dict(value), rng)
    return _replace(value, rng)


def _change_list(items: list, rng: random.Random) -> list:
    place, act = rng.randrange(len(items)), rng.random()
    if act < 0.1:
        del items[place]
    elif act < 0.2:
        items.insert(place, items[rng.randrange(len(items))])
    elif act < 0.25:
        rng.shuffle(items)
    else:
        items[place] = _change(items[place], rng)
    return items


def _change_dict(items: dict, rng: random.Random) -> dict:
    key, act = rng.choice(list(items)), rng.random()
    if act < 0.1:
        del items[key]
    elif act < 0.15:
        items[rng.choice(("v", "ext", "kind", "new", ""))] = _replace(None, rng)
    else:
        items[key] = _change(items[key], rng)
    return items


def _replace(value: object, rng: random.Random) -> object:
    if isinstance(value, bytes) and rng.random() < 0.7:
        return _bend(value, rng)
    if isinstance(value, str) and rng.random() < 0.7:
        return rng.choice((value[:-1], value + "é", value * 2, value + "\0", "x" * 300, "../" + value, "-" + value))
    if isinstance(value, int) and rng.random() < 0.7:
        return rng.choice((*_INTS, value + 1, value - 1, -value))
    return rng.choice(_STRANGE)(rng)


def _bend(value: bytes, rng: random.Random) -> bytes:
    act = rng.randrange(6)
    if act == 0 and value:
        place = rng.randrange(len(value))
        return value[:place] + bytes([rng.randrange(256)]) + value[place + 1 :]
    return (value[:-1], value + b"\0", value * 2, b"", rng.randbytes(32), value + value[-32:])[act]


def _nest(_: random.Random) -> object:
    nested: object = []
    for _step in range(_DEEP):
        nested = [nested]
    return nested


_STRANGE: tuple[Callable[[random.Random], object], ...] = (
    lambda _: None,
    lambda _: True,
    lambda _: 1.5,
    lambda _: float("nan"),
    lambda _: [],
    lambda _: {},
    lambda rng: rng.choice(_INTS),
    lambda rng: rng.randbytes(rng.choice((0, 16, 31, 32, 64, 300))),
    lambda rng: {"x": rng.randbytes(3)},
    lambda rng: [[], rng.choice(_INTS)] * 9,
    _nest,
)
