"""Record the conversation of this version: `cd tests && python -m recorded.record`. Once for each minor version.

What was recorded stays as it is: it stands for programs that people have. A new tape is added beside it.
"""

import asyncio
import tempfile
from pathlib import Path
from unittest import mock

from agent.parties import running
from backuppeer import __version__
from backuppeer.transport.memory import Network
from backuppeer.transport.memory.network import MemoryStream
from recorded.conversation import PACKS, Talk, fix_nonces, host_party, open_house, owner_party
from recorded.tape import Tape

FOLDER = Path(__file__).parent
VERSION = __version__.rpartition(".")[0]


async def converse(folder: Path) -> None:
    """Let owner and host meet twice."""
    house, talk = open_house(folder), Talk()
    try:
        for act in (talk.leave_backup, talk.restore_and_audit):
            network = Network()
            owner, host = owner_party(network), host_party(network, house)
            async with running(owner, host):
                await act(await owner.dial(host))
    finally:
        house.close()


def record(folder: Path) -> str:
    """Return the tape of a conversation with a host at `folder`."""
    tape, write = Tape(PACKS), MemoryStream.write

    async def noted(stream: MemoryStream, data: bytes) -> None:
        connection = stream._connection
        tape.note(connection._link, (stream._out, stream._in), bytes(data), is_owner=connection.is_dialler)
        await write(stream, data)

    with mock.patch.object(MemoryStream, "write", noted):
        fix_nonces(dict.__setitem__)
        asyncio.run(converse(folder))
    return tape.render()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        path = FOLDER / f"conversation-{VERSION}.json"
        path.write_text(record(Path(made) / "host"))
        print(f"{path.stat().st_size} bytes")  # noqa: T201 - it is a command
