"""Changes of `config.toml` that leave alone what they don't change: comments, order and blank lines are a person's own.

Knows: how a table of values is laid over the text that has other ones, and that one writes at a time. Must not know:
what the keys mean. Commands and the agent change the file, each from what it reads: who reads outside of the lock
would write back what another has changed meanwhile.
"""

import fcntl
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array

from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.home import Home, explain_denial, write_private
from backuppeer.agent.home.sets import check_sets
from backuppeer.errors import LocalError

_MISSING: Final = object()


@contextmanager
def hold_settings(home: Home) -> Iterator[None]:
    """Hold off others that change the settings while the block runs; it must be short, and ask nobody anything.

    Waits while another holds it. The kernel lets go of it when a process ends in whatever way.

    Raises:
        LocalError: the home can't be written.

    """
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(home.config_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise explain_denial(home.path, exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def revise_config(home: Home, change: Callable[[Config], Config]) -> Config:
    """Change the settings of `home` from what they are at this moment, all or nothing; return what they are now.

    change: gets what stands there and returns what shall; what it raises leaves the file as it is.

    Raises:
        UserError: a set that can't be meant, or settings that can't be read; nothing was written.
        LocalError: the file can't be changed so that it says just that; nothing was written.

    """
    with hold_settings(home):
        config = change(read_config(home))
        _write(home, config)
    return config


def write_config(home: Home, config: Config) -> None:
    """Bring the settings of `home` to these values, whatever they are now; otherwise as `revise_config`."""
    with hold_settings(home):
        _write(home, config)


def _write(home: Home, config: Config) -> None:
    check_sets(config.sets)
    values = {key: value for key, value in msgspec.to_builtins(config).items() if value is not None}
    before = home.config.read_bytes().decode() if home.config.exists() else ""
    # Of a link, what it leads to is replaced.
    write_private(home.config.resolve(), amend(before, values).encode())


def amend(text: str, values: Mapping[str, object]) -> str:
    """Return the TOML text with these values and no others, otherwise as it was.

    Raises:
        LocalError: the text is no TOML, or came out with other values.

    """
    try:
        document = tomlkit.parse(text)
        new = {key: value for key, value in values.items() if key not in document and not isinstance(value, Mapping)}
        _amend_table(document, {key: value for key, value in values.items() if key not in new})
        # In front: the library would put them before the first table, behind the comment that belongs to it.
        amended = tomlkit.dumps(new) + tomlkit.dumps(document)
        # What a command says it changed has to be what the next one reads, whatever the layout of the file.
        is_right = tomllib.loads(amended) == values
    except (TOMLKitError, ValueError) as exc:
        raise LocalError(f"the settings can't be changed: {exc}", hint="change the file by hand") from exc
    if not is_right:
        raise LocalError("the settings can't be changed without hurting the file", hint="change the file by hand")
    return amended


def _amend_table(table: MutableMapping[str, object], values: Mapping[str, object]) -> None:
    for key in [key for key in table if key not in values]:
        del table[key]
    for key, value in values.items():
        before = table.get(key, _MISSING)
        if isinstance(before, MutableMapping) and isinstance(value, Mapping):
            _amend_table(before, value)
        elif isinstance(before, Array) and isinstance(value, list):
            _amend_list(before, value)
        elif before is _MISSING or isinstance(before, AoT) or before != value:
            table[key] = value


def _amend_list(array: Array, values: list[object]) -> None:
    """Take out and add items one by one, so that those that stay keep their lines and comments."""
    for at in reversed(range(len(array))):
        if array[at] not in values:
            del array[at]
    if list(array) != values[: len(array)]:
        array.clear()
    for value in values[len(array) :]:
        array.append(value)
