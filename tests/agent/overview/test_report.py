"""The report of a week, made of real books; what can't be read is left out and said."""

import asyncio
from types import SimpleNamespace

from agent.watches import watching
from backuppeer.agent.home.home import Home
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.overview.report import build_report
from backuppeer.errors import DamagedStateError


def test_what_cannot_be_read_is_left_out_of_the_report_and_the_rest_is_there(house, owner, tree, tmp_path, monkeypatch):
    def fail():
        raise DamagedStateError("/home/me/proven.db is damaged")

    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            await watch.back_up(tree())
            agent = SimpleNamespace(
                parts=SimpleNamespace(
                    clock=watch.days, home=Home(tmp_path), state=watch.state, standing=watch.vault.standing
                ),
                host=SimpleNamespace(premises=house.premises),
                owner=SimpleNamespace(vault=watch.vault, auditor=watch.auditor),
            )
            whole = build_report(agent, [Trouble(key="a", text="alice was caught")])
            monkeypatch.setattr(watch.auditor, "records", fail)
            return whole, build_report(agent, [Trouble(key="a", text="alice was caught")])

    whole, cut = asyncio.run(scenario())
    assert [len(whole.hosts), len(whole.sets), len(whole.attention)] == [1, 1, 1]
    assert [len(cut.hosts), len(cut.sets), cut.owners] == [0, 1, 1]
    told, said = cut.attention
    assert told.text == "alice was caught"
    assert said.text == "what this home keeps of its hosts can't be read: they are left out here"
    assert "/home" not in f"{said.text}{said.fix}"
