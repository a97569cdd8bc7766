"""The connection to Valkey, or Redis: runs scripts, hears what is published, turns what fails into our errors.

Knows: the valkey library (its only importer), timeouts. Must not know: what the scripts do. Without the store no call
waits for it: the first failure marks it as gone, and only `probe` finds it again.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from backuppeer import limits
from backuppeer.errors import Unavailable, UserError

try:
    from valkey.asyncio import BlockingConnectionPool, Valkey
    from valkey.asyncio.client import PubSub
    from valkey.asyncio.retry import Retry
    from valkey.backoff import NoBackoff
    from valkey.exceptions import AuthenticationError, NoScriptError, ValkeyError
except ImportError as exc:  # pragma: no cover - the extra is installed where tests run
    raise UserError(
        "several nodes need a library that is not installed", hint="pip install 'backup-peer[cluster]'"
    ) from exc

LOG: Final = logging.getLogger("backuppeer.signaling.server")
_SCHEMES: Final = frozenset({"valkey", "valkeys", "redis", "rediss", "unix"})
_CANCEL_AGAIN_S: Final = 0.01
_LOST: Final = (ValkeyError, OSError, TimeoutError)
Answer = Any
"""What a script returns: numbers, bytes, lists of them. Who runs it knows which."""


class Store:
    """One Valkey. `is_up` says whether it answered last."""

    def __init__(self, url: str, *, prefix: str, now_ms: Callable[[], int] | None = None) -> None:
        """Take `valkey://HOST:PORT/DB` (or `valkeys`, `redis`, `rediss`, `unix`); nothing is dialled yet.

        now_ms: whose time counts; None = Valkey's, one for all nodes.

        Raises:
            UserError: not such an address.

        """
        if url.partition(":")[0].lower() not in _SCHEMES:
            raise UserError("not the address of a Valkey", hint="for example valkey://127.0.0.1:6379/0")
        self.prefix = prefix
        self._now_ms = now_ms or (lambda: -1)
        self.is_up = self._has_odd = False
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=limits.STORE_CONNECTIONS,
                timeout=limits.STORE_ANSWER_S,
                socket_timeout=limits.STORE_ANSWER_S,
                socket_connect_timeout=limits.STORE_ANSWER_S,
                retry=Retry(NoBackoff(), 1),  # for a connection that the store has closed long ago
            )
        except (ValkeyError, ValueError) as exc:
            raise UserError("not the address of a Valkey", hint="for example valkey://127.0.0.1:6379/0") from exc
        self._client: Valkey = Valkey(connection_pool=pool)
        self._shas: dict[str, str] = {}
        self._calls: set[asyncio.Task[Answer]] = set()

    async def run(self, script: str, *args: bytes | str | float) -> Answer:
        """Run a script with the prefix as its key, and the time before its arguments.

        Raises:
            Unavailable: the store is gone, or refuses.

        """
        if not self.is_up:
            raise Unavailable("the store of this service can't be reached")
        return await self._run(script, args)

    async def probe(self, script: str, *args: bytes | str | float) -> Answer:
        """Run a script even where the store was gone; if it answers, it is here again.

        Raises:
            Unavailable: the store is gone, or refuses.
            UserError: it does not take our password.

        """
        if not self.is_up:
            await self._client.connection_pool.disconnect(inuse_connections=False)
        answer = await self._run(script, args)
        self.is_up = True
        return answer

    async def _run(self, script: str, args: tuple[bytes | str | float, ...]) -> Answer:
        words = (1, self.prefix, self._now_ms(), *args)
        try:
            return await self._await(self._evaluate(script, words))
        except AuthenticationError as exc:
            self.is_up = False
            raise UserError("the store does not take the password given", hint="look at its address") from exc
        except _LOST as exc:
            raise self.lose(exc) from exc

    async def _evaluate(self, script: str, words: tuple[bytes | str | float, ...]) -> Answer:
        sha = self._shas.get(script) or await self._load(script)
        try:
            return await self._client.execute_command("EVALSHA", sha, *words)  # type: ignore[no-untyped-call]
        except NoScriptError:
            await self._load(script)
            return await self._client.execute_command("EVALSHA", sha, *words)  # type: ignore[no-untyped-call]

    async def _await(self, work: Coroutine[None, None, Answer]) -> Answer:
        """Wait for the library in a task of its own: while it connects it swallows cancellations, ours among them.

        Raises:
            TimeoutError: it takes longer than STORE_ANSWER_S.

        """
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=limits.STORE_ANSWER_S)
        finally:
            if not task.done():
                task.cancel()
        if task.done():
            return task.result()
        raise TimeoutError

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever waited for it may have gone

    async def _load(self, script: str) -> str:
        self._shas[script] = await self._client.script_load(script)
        return self._shas[script]

    def lose(self, exc: Exception) -> Unavailable:
        """Mark the store as gone; return the error that says so."""
        if self.is_up:
            # The kind of error only: the library's words can name addresses.
            LOG.error("the store of this service is gone (%s): read-only until it is back", type(exc).__name__)
        self.is_up = False
        return Unavailable("the store of this service can't be reached")

    async def hear(self, channel: bytes, on_ready: Callable[[], None]) -> AsyncGenerator[bytes]:
        """Yield what is published in a channel; `on_ready` is called when nothing is missed any more.

        Raises:
            Unavailable: the store is gone.

        """
        pubsub: PubSub = self._client.pubsub()
        try:
            await pubsub.subscribe(channel)
            while True:
                message = await pubsub.get_message(timeout=limits.STORE_BEAT_S)
                if message is not None and message["type"] == "subscribe":
                    on_ready()
                elif message is not None and message["type"] == "message":
                    yield bytes(message["data"])
        except _LOST as exc:
            raise self.lose(exc) from exc
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read an answer in the body; what no node of this service wrote is as good as no answer.

        Raises:
            Unavailable: the body can't make sense of it.

        """
        try:
            yield
        except (ValueError, TypeError, AttributeError, OverflowError) as exc:
            if not self._has_odd:
                LOG.error("the store of this service holds what none of its nodes wrote")  # noqa: TRY400 - no more to say
            self._has_odd = True
            raise Unavailable("the store of this service holds what none of its nodes wrote") from exc

    async def close(self) -> None:
        """Hang up."""
        self.is_up = False
        while self._calls:
            for task in self._calls:
                task.cancel()
            await asyncio.wait(self._calls, timeout=_CANCEL_AGAIN_S)
        await self._client.aclose()
        await self._client.connection_pool.disconnect()
