"""What looks for secrets in logs finds them: else its silence would say nothing."""

import json

import pytest

from e2e.leaks import Leaks

WORDS = "absent acid acoustic actual adapt afraid again album"


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "host"
    (made / "logs").mkdir(parents=True)
    (made / "keys").mkdir()
    (made / "keys" / "working").write_bytes(b"BPWORK" + bytes(range(32, 64)))
    return made


@pytest.mark.parametrize(
    "text",
    [
        "the words are acid acoustic actual",
        "reason=bpi1qqqsecretinvite",
        "said 7-zoo-zone!",
        "typed a long passphrase",
        f"key {bytes(range(32, 64)).hex()}",
        "dialled 10.1.2.3:4433",
    ],
)
def test_each_kind_of_secret_is_found(home, tmp_path, text):
    leaks = Leaks()
    leaks.hear([json.dumps({"words": WORDS}), json.dumps({"invite": "bpi1qqqsecretinvite"}), "no json"])
    leaks.hear([json.dumps({"code": "7-zoo-zone"}), json.dumps({"code": 12})])
    leaks.hear_typed("a long passphrase\n")
    (home / "logs" / "agent.log.1").write_text("an album of a server ws://127.0.0.1:80\n")
    assert leaks.find(tmp_path) == []
    (home / "logs" / "agent.log").write_text(text)
    assert len(leaks.find(tmp_path)) == 1
