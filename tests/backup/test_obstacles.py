"""What stands where files are to be restored."""

import os

import pytest

from backuppeer.backup.obstacles import open_target
from backuppeer.errors import UserError


def test_a_target_that_can_not_be_is_told_with_how_to_name_another(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="can't restore into") as caught:
        open_target(os.fsencode(tmp_path / "file" / "x"), overwrite=False)
    assert caught.value.advice == "name a folder with --target DIR"
