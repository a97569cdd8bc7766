"""`import`: what is advised where the file is not there, or not to be opened."""

import pytest

from backuppeer.agent.home.belongings import Belongings, write_belongings
from backuppeer.crypto.custody import Stretch
from cli.rows import run
from cli.terminal import FakePipe

CHEAP = Stretch(memory_kib=64, passes=1, lanes=1)


@pytest.fixture
def bring(capsys, monkeypatch, tmp_path):
    """Import a file into a home that is named: bring(file) returns the code and what was said in one line."""

    def do(file):
        monkeypatch.setattr("sys.stdin", FakePipe("correct horse battery\n"))
        code, _, err = run(capsys, "import", str(file), "--yes", "--home", str(tmp_path / "new"))
        assert not (tmp_path / "new" / "keys").exists()
        return code, " ".join(err.split())

    return do


def test_who_names_no_file_is_told_what_makes_one_on_the_other_machine(bring, tmp_path):
    code, said = bring(tmp_path / "none")
    assert code == 10
    assert "`backup-peer export FILE` on the other machine makes one" in said


def test_a_file_that_is_none_of_ours_is_told_so_with_the_same_advice(bring, tmp_path):
    (tmp_path / "file").write_bytes(b"anything")
    code, said = bring(tmp_path / "file")
    assert code == 15
    assert "`backup-peer export FILE` on the other machine makes one" in said


def test_who_has_forgotten_the_passphrase_of_the_file_gets_no_advice_about_a_home_that_is_not_there(bring, tmp_path):
    made = Belongings(
        generation=1, working=b"w" * 32, authority=b"a" * 32, device=b"", grant=b"", peers=[], agreements=[], config=""
    )
    write_belongings(tmp_path / "file", made, b"another one", stretch=CHEAP)
    code, said = bring(tmp_path / "file")
    assert code == 12
    assert "the passphrase is wrong" in said
    assert "passphrase set" not in said
    assert "`backup-peer export FILE` on the other machine makes another file" in said
    assert f"`backup-peer recover --home {tmp_path / 'new'}` needs the 24 words alone" in said
