"""A real agent tells a webhook, and no secret of its address stands anywhere but in the settings."""

import pytest

from agent.notifications.services import Webhook, serving
from e2e.harness import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_trial_reaches_a_webhook_and_its_password_is_in_no_log_no_report_and_no_bundle(world: World):
    attic, _ = world.peer("attic")
    assert attic.run("notify", "test").code == 10
    with serving(Webhook()) as hook:
        attic.do("config", "set", "notify.urls", "-", stdin=f"{hook.url}\njson://user:pass-of-hook@127.0.0.1:1/\n")
        said = [attic.run("notify", "test"), attic.run("config", "list"), attic.run("status"), attic.run("report")]
    assert [result.code for result in said] == [3, 0, 0, 0]
    assert [heard["title"].startswith("Backup Peer on ") for heard in hook.heard] == [True]
    assert [row["sent"] for row in said[0].rows] == [True, False]
    attic.run("doctor", "--bundle", str(world.path / "report.json"))
    log = "".join(path.read_text() for path in (attic.path / "logs").iterdir())
    everything = log + (world.path / "report.json").read_text() + "".join(r.stdout + r.stderr for r in said)
    assert "agent started" in everything
    assert "pass-of-hook" not in everything
