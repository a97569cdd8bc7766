"""The process that sends one notification, and the only importer of apprise.

Knows: apprise, what is written on its standard input. Must not know: homes, troubles. A process of its own, so that the
agent stays small and nothing that a service does can hold it up. Addresses hold passwords: they come on standard input,
and nothing of them goes out again: what apprise logs may hold parts of them, so only the code of an HTTP answer is read
from it.
"""

import logging
import re
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from types import ModuleType
from typing import Final

import msgspec

from backuppeer.agent.notifications.courier import Answer, Errand
from backuppeer.limits import NOTIFY_MEMORY_BYTES, NOTIFY_SEND_S, NOTIFY_URLS

_HTTP: Final = re.compile(r"\berror=([1-5][0-9]{2})\b")
_GRACE_S: Final = 5.0
"""The agent ends it at NOTIFY_SEND_S; where there is no agent any more, it ends by itself."""

_heard: ContextVar[list[str]] = ContextVar("heard")
"""The codes of the place that is being told: apprise hands the context on to threads of its own."""


class _Codes(logging.Handler):
    """Hears the codes of HTTP answers in what apprise logs, and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        if found := _HTTP.search(record.getMessage()):
            _heard.get([]).append(found[1])


def main() -> int:
    """Send what stands on standard input, and say of each place on standard output what came of it."""
    limit_self()
    errand, answered = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand), sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a service's plugin prints is no answer of ours
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        answers = [Answer(reason="apprise is not installed", is_missing=True) for _ in errand.urls]
    else:
        log = logging.getLogger("apprise")
        log.handlers, log.propagate = [_Codes(logging.WARNING)], False
        with ThreadPoolExecutor(NOTIFY_URLS) as threads:  # one that hangs holds up no other
            answers = list(threads.map(lambda url: _go(apprise, url, errand), errand.urls))
    answered.write(msgspec.json.encode(answers))
    answered.flush()
    return 0


def limit_self() -> None:
    """Let the system end this process when its time is over, and give it no more memory than a sending needs.

    A service may answer without end, or a byte at a time; and an agent that is killed can't end its children.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, NOTIFY_SEND_S + _GRACE_S)
    # Not RLIMIT_AS: eight threads reserve half a GiB of addresses that they never touch.
    with suppress(ValueError, OSError):  # macOS may refuse it, and does not keep it
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = NOTIFY_MEMORY_BYTES if most == resource.RLIM_INFINITY else min(NOTIFY_MEMORY_BYTES, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


def _go(apprise: ModuleType, url: str, errand: Errand) -> Answer:
    """Send to one place, or only look whether it can be understood."""
    asset = apprise.AppriseAsset(
        app_id="Backup Peer", app_desc="Backup Peer", app_url="", plugin_paths=[], async_mode=False
    )
    place = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if place is None:
        return Answer(reason="it is no address of a service that apprise knows and can use here", is_wrong=True)
    if not errand.body:
        return Answer(is_sent=True)
    codes = list[str]()
    _heard.set(codes)
    notifier = apprise.Apprise(asset=asset)
    notifier.add(place)
    kind = apprise.NotifyType.WARNING if errand.is_trouble else apprise.NotifyType.INFO
    if notifier.notify(body=errand.body, title=errand.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
        return Answer(is_sent=True)
    return Answer(reason=f"it answered with {codes[-1]}" if codes else "it was not reached, or did not take it")


if __name__ == "__main__":
    sys.exit(main())
