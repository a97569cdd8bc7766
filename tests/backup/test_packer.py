"""The packer of a backup: what is full goes to the sink, while others fill the next pack."""

import threading

from backuppeer.backup.packer import Packer
from backuppeer.ids import BlobId
from backuppeer.limits import MIB
from backuppeer.repo.blob import Blob, BlobKind, Codec

SPACE = memoryview(bytes(4 * MIB))


def blob(number: int, size: int = 4 * MIB) -> Blob:
    return Blob(BlobId(number.to_bytes(32, "big")), BlobKind.DATA, Codec.RAW, size, SPACE[:size])


class Sink:
    """Holds back the first pack until it is told to go on."""

    def __init__(self):
        self.entered, self.go_on, self.stored = threading.Event(), threading.Event(), []

    def store(self, draft):
        self.entered.set()
        assert self.go_on.wait(30)
        self.stored += [entry.blob for entry in draft.entries]

    def flush(self):
        pass


def test_others_fill_the_next_pack_while_one_is_stored_and_every_blob_is_stored_once(repository):
    sink = Sink()
    packer = Packer(repository.index, sink)
    first = threading.Thread(target=packer.add, args=([blob(number) for number in range(4)],))
    first.start()
    assert sink.entered.wait(30)
    packer.add([blob(10), blob(11)])  # would not return, if whoever stores kept all others out
    sink.go_on.set()
    first.join(30)
    packer.add([blob(number) for number in range(20, 24)])
    packer.flush_content()
    numbers = sorted(int.from_bytes(stored, "big") for stored in sink.stored)
    assert numbers == [0, 1, 2, 3, 10, 11, 20, 21, 22, 23]


def test_a_sink_that_fails_lets_the_others_go_on_to_their_own_failure(repository):
    class Full:
        def store(self, draft):
            raise OSError("full")

        def flush(self):
            pass

    packer = Packer(repository.index, Full())
    for start in (0, 100):
        try:
            packer.add([blob(start + number) for number in range(4)])
        except OSError:
            continue
        raise AssertionError("nothing was stored")
