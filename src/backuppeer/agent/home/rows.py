"""Rows of one length, kept behind one another as one setting of a home: ids, or ids with a little beside.

Knows: lengths. Must not know: what a row means. A last row that is shorter than the others is no row.
"""

from collections.abc import Iterable

from backuppeer.agent.home.state import State


def cut_rows(raw: bytes, row_bytes: int) -> list[bytes]:
    """Return the rows of `row_bytes` bytes each that lie behind one another in `raw`."""
    return [raw[at : at + row_bytes] for at in range(0, len(raw) - row_bytes + 1, row_bytes)]


class KeptRows:
    """One setting, read and written whole."""

    def __init__(self, state: State, name: str, row_bytes: int) -> None:
        self._state, self._name, self._row_bytes = state, name, row_bytes

    def read(self) -> list[bytes]:
        """Return the rows, in order; none if nothing was kept."""
        return cut_rows(self._state.setting(self._name) or b"", self._row_bytes)

    def write(self, rows: Iterable[bytes]) -> None:
        """Keep these rows instead of those before, durably.

        Raises:
            LocalError: a disk that refuses.

        """
        self._state.put_setting(self._name, b"".join(sorted(rows)))
