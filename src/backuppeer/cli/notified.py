"""`config set notify.urls`: addresses of services, which hold passwords, taken in and looked at.

Knows: where they come from, that apprise understands them. Must not know: who sends. On a command line they would stand
in the shell's history and in the list of processes: `-` asks for them.
"""

import sys
from collections.abc import Sequence

from backuppeer.agent.home.notify import name_service
from backuppeer.agent.notifications.courier import MISSING, check_urls, is_available
from backuppeer.cli.screen import Screen
from backuppeer.errors import UserError
from backuppeer.limits import NOTIFY_URL_CHARS, NOTIFY_URLS


def read_urls(screen: Screen) -> str:
    """Return what stands on standard input; of a terminal, a line for each address until one is empty."""
    if not screen.can_ask:
        return sys.stdin.read((NOTIFY_URL_CHARS + 1) * NOTIFY_URLS)
    lines = list[str]()
    while len(lines) < NOTIFY_URLS and not screen.input_ended:
        prompt = "next address (an empty line ends it): " if lines else "address, such as ntfy://ntfy.sh/TOPIC: "
        line = screen.read_answer(prompt, goes_on=bool(lines)).strip()
        if not line:
            break
        lines.append(line)
    return "\n".join(lines)


def check(screen: Screen, urls: Sequence[str]) -> None:
    """Refuse addresses that apprise does not understand, and say what to do next; nothing is sent.

    Raises:
        UserError: one is none, or of a service that can't be used here.

    """
    if not is_available():
        screen.note(MISSING[0])
        screen.hint(MISSING[1])
        return
    for number, (url, answer) in enumerate(zip(urls, check_urls(urls), strict=True), 1):
        if answer.is_wrong:
            raise UserError(
                f"notify.urls: number {number}, {name_service(url)}://***: {answer.reason}",
                hint="see the list of services of apprise; desktop services need packages of the system beside it",
            )
    screen.aside("`backup-peer notify test` sends a trial")
