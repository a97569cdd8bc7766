"""Settings of the table `[notify]`: who is told of trouble, after how long, and whether a report comes each week.

Knows: keys, caps, how an address is shown. Must not know: apprise. Addresses hold passwords and tokens, at any place of
them: what is shown is the name of the service alone, and no message ever has more.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from backuppeer.clock import parse_duration
from backuppeer.errors import UserError
from backuppeer.limits import NOTIFY_AFTER_LEAST_S, NOTIFY_AFTER_S, NOTIFY_URL_CHARS, NOTIFY_URLS

_SERVICE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}(?=://)")
_EXAMPLE: Final = "write it like ntfy://TOPIC, mailto://USER:PASSWORD@mail.example or json://HOST/PATH"


class NotifySettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Settings of the table `[notify]`."""

    urls: list[str] | None = None
    """Whom trouble is told, as apprise writes addresses. Secrets."""
    after: str | None = None
    """Without a backup for so long there is an alarm; a duration."""
    report: Literal["weekly", "never"] | None = None

    def __repr__(self) -> str:
        return f"NotifySettings(urls={mask_urls(self.urls or [])}, after={self.after!r}, report={self.report!r})"

    @property
    def after_s(self) -> int:
        """Return after how many seconds without a backup there is an alarm."""
        return parse_duration(self.after) if self.after else NOTIFY_AFTER_S


def split_urls(text: str) -> list[str]:
    """Return the addresses that stand in a text, apart by spaces or lines: commas may be a part of one."""
    return text.split()


def mask_urls(urls: Sequence[str]) -> list[str]:
    """Return addresses as they may be shown: `mailto://***`."""
    return [f"{name_service(url)}://***" for url in urls]


def name_service(url: str) -> str:
    """Return which service an address is of, in lower case: all of it that is no secret."""
    found = _SERVICE.match(url)
    return found[0].lower() if found else "?"


def check_notify(settings: NotifySettings) -> None:
    """Refuse what can't be meant; no message has a part of an address.

    Raises:
        UserError: too many addresses, one that is none, or no duration; names the key.

    """
    urls = settings.urls or []
    if len(urls) > NOTIFY_URLS:
        raise UserError(f"notify.urls: {len(urls)} addresses", hint=f"{NOTIFY_URLS} at most")
    for number, url in enumerate(urls, 1):
        is_whole = _SERVICE.match(url) and url.isprintable() and " " not in url
        if not is_whole or len(url) > NOTIFY_URL_CHARS:
            raise UserError(f"notify.urls: number {number} is no address of a service", hint=_EXAMPLE)
    if settings.after is not None:
        _check_after(settings.after)


def _check_after(text: str) -> None:
    try:
        is_enough = parse_duration(text) >= NOTIFY_AFTER_LEAST_S
    except UserError as exc:
        raise UserError(f"notify.after: {exc.message}", hint=exc.hint) from exc
    if not is_enough:
        raise UserError(
            f"notify.after: {text[:40]!r} is too short", hint="1h at least, as in `config set notify.after 3d`"
        )
