"""An owner that commits a crime: `python -m crimes.thief CRIME OTHER OUT HOME` (in tests/); no agent may have the home.

OTHER: a file with what it overheard of another owner. Writes what came of it into OUT, and then keeps its session, and
all that it holds at the host, until its standard input ends.
"""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.home.state import State
from backuppeer.agent.peers import sessions as sessions_module
from backuppeer.agent.peers.partners import remembered
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.sessions import Hooks, Sessions
from backuppeer.clock import SystemClock
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import TransportId
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.transport.iroh import open_iroh
from backuppeer.wire.messages import Goodbye, Hello, LaneOffer
from crimes.thefts import Overheard, Theft, Thief


async def _nothing(*_: object) -> None:
    """Do nothing."""


class Deaf(Session):
    """A session that hears no goodbye and no offer of a lane, and lets the other side close it."""

    async def hear(self):
        try:
            while isinstance(message := await super().hear(), (Goodbye, LaneOffer)):
                pass
        except PeerUnreachable:
            # The stream is thrown away just before; the code by which the host closes is what is looked for.
            await self.connection.wait_closed()
            raise
        return message


async def steal(theft: Theft, other: Overheard, out: Path, home: Home) -> None:
    keys, state = load_keys(home), State(home.state)
    ((agreement, host, signed),) = state.agreements()
    where, heads = remembered(state, host), state.heads_after(keys.repository, 0)
    state.close()
    transport = await open_iroh(keys.transport_seed, bind=["127.0.0.1:0"])
    hooks = Hooks(
        may_answer=lambda _: False,
        make_hello=lambda _: Hello(program="thief"),
        on_hello=_nothing,
        serve=_nothing,
        on_fault=lambda _, __: None,
    )

    every = []

    def dial():
        # Sessions of its own each time: those before stay as they are, whatever is said in them.
        every.append(Sessions(transport, keys.identity, SystemClock(), hooks))
        return every[-1].dial(host, TransportId(where.transport), list(where.addresses))

    own = SimpleNamespace(
        identity=keys.identity, device=keys.device, terms=signed, agreed=peek_statement(Agreement, signed)
    )
    thief = Thief(dial, agreement, own, heads, other)
    loot = await thief.commit(theft)
    part = out.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(loot))
    part.rename(out)
    goes_on = asyncio.create_task(thief.go_on(theft))
    await asyncio.to_thread(sys.stdin.read)
    goes_on.cancel()
    await asyncio.gather(goes_on, return_exceptions=True)
    await transport.close()


def main() -> int:
    theft, other, out, home = sys.argv[1:]
    sessions_module.Session = Deaf
    heard = msgspec.msgpack.decode(Path(other).read_bytes(), type=Overheard)
    asyncio.run(steal(Theft(theft), heard, Path(out), Home(Path(home))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
