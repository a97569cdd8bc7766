"""What settings may say beyond their types: servers, proxies, regions, commands; and a valid example of each.

Knows: the rules of the rooms that use a setting. Must not know: files, verbs. A value that is refused is named by its
key.
"""

import shlex
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from backuppeer.agent.home.config import Config
from backuppeer.errors import UserError
from backuppeer.signaling.proxying import parse_proxy
from backuppeer.signaling.servers import check_servers

T = TypeVar("T")
U = TypeVar("U")
EXAMPLES: Final = {
    "servers": "wss://one.example,wss://two.example",
    "proxy": "socks5://127.0.0.1:9050",
    "region": "EU",
    "audits": "off",
    "passphrase_command": "'pass show backup-peer'",
    "trust.share_receipts": "no",
    "network.lan": "yes",
}
"""A value of each setting, as it is typed."""


def check_values(config: Config) -> Config:
    """Return settings with their values in normal form.

    Raises:
        UserError: one that can't be meant; the message names its key.

    """
    if config.servers is not None:
        config = msgspec.structs.replace(config, servers=_name("servers", check_servers, config.servers))
    if config.proxy is not None:
        config = msgspec.structs.replace(config, proxy=_name("proxy", parse_proxy, config.proxy))
    if config.region is not None:
        _name("region", _check_region, config.region)
    if config.passphrase_command is not None:
        _name("passphrase_command", _check_command, config.passphrase_command)
    return config


def show_example(key: str) -> str:
    """Return a command that sets a setting."""
    return f"`{' '.join(('backup-peer config set', key, EXAMPLES[key]))}`"


def _name(key: str, check: Callable[[T], U], value: T) -> U:
    try:
        return check(value)
    except UserError as exc:
        raise UserError(f"{key}: {exc.message}", hint=f"{exc.hint}; for example: {show_example(key)}") from exc


def _check_region(region: str) -> None:
    from backuppeer.signaling.listing import is_region  # noqa: PLC0415 - crypto libraries

    if not is_region(region):
        raise UserError(f"{region[:40]!r} is no region", hint="write it like EU or US-W, in capitals")


def _check_command(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        # Not its words: a person may have written the passphrase itself into them.
        raise UserError("not a command: is a quote open?", hint="a program and its arguments; no shell")
