"""Nothing of this machine's disk reaches a partner or a stranger, whatever went wrong."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from backuppeer import errors
from backuppeer.agent.host.serving import refusal_of
from backuppeer.agent.host.telling import advise_peer, tell_peer
from backuppeer.host.disk import translate_failures

PATH = "/home/carol/secret disk"
OWN = [errors.StoreUnavailable, errors.LocalError, errors.DamagedStateError, errors.UserError, errors.Unavailable]
THEIRS = [errors.RefusedError, errors.NotFoundError, errors.IntegrityFault]


@pytest.mark.parametrize("kind", OWN)
def test_errors_of_our_own_machine_become_fixed_words(kind):
    error = kind(f"no store at {PATH}: No such file or directory", hint=f"mount {PATH}")
    said = refusal_of(error)
    for text in (tell_peer(error), advise_peer(error), said.message, said.hint):
        assert "/" not in text
        assert "No such file" not in text
    assert tell_peer(error)
    assert not said.hint


@pytest.mark.parametrize("kind", THEIRS)
def test_words_meant_for_the_other_side_pass(kind):
    error = kind("not that much space", hint="ask for less")
    assert (tell_peer(error), advise_peer(error)) == ("not that much space", "ask for less")


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "its disk is full"), (errno.EDQUOT, "its disk is full"), (errno.EIO, "away")]
)
def test_a_full_disk_is_told_as_one_and_not_as_a_store_that_is_away(number, words):
    with pytest.raises(errors.StoreUnavailable) as caught, translate_failures(Path(PATH)):
        raise OSError(number, os.strerror(number))
    assert words in tell_peer(caught.value)
    assert PATH not in tell_peer(caught.value)


def test_a_catalogue_without_room_is_told_as_a_full_disk():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(errors.StoreUnavailable) as caught, translate_failures(Path(PATH)):
        raise error
    assert "its disk is full" in tell_peer(caught.value)
