"""Why a job ends when no host of it is left: one error for all that dropped out.

Knows: their errors. Must not know: hosts, jobs.
"""

from collections.abc import Sequence

from backuppeer.errors import BackupPeerError


def explain_dropouts(failures: Sequence[tuple[str, BackupPeerError]]) -> BackupPeerError:
    """Return the error for hosts (name, why it dropped out), at least one: as that of the first, naming all.

    One may have been away all along, and another that left in the middle of the work is the news.
    """
    first = failures[0][1]
    reasons = [_name_first(name, error.message) for name, error in failures]
    if reasons == [first.message]:
        return first
    hints = dict.fromkeys(error.hint for _, error in failures if error.hint)
    told = type(first)("; ".join(reasons), hint="; ".join(hints))
    told.exit_code = first.exit_code
    return told


def _name_first(name: str, message: str) -> str:
    return message if name in message else f"{name}: {message}"
