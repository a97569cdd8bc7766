"""One target under atheris: `python -m fuzz.fuzzer TARGET libFuzzer-arguments…` (in tests/; `make fuzz` does it)."""

import sys

import atheris

from fuzz.mutation import mutate_msgpack

with atheris.instrument_imports(include=["backuppeer"]):
    from fuzz.targets import TARGETS, feed


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        feed(target, data)

    def mutate(data: bytes, most_bytes: int, seed: int) -> bytes:
        made = None
        if target.body_at is not None and seed % 4:
            made = mutate_msgpack(data, most_bytes, seed, at=target.body_at, length_at=target.length_at)
        return atheris.Mutate(data, most_bytes) if made is None else made

    atheris.Setup([sys.argv[0], f"-max_len={target.most_bytes}", *sys.argv[2:]], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
