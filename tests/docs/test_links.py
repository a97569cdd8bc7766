"""Documents point to other documents: each must be there."""

import re

import pytest

from docs.commands import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
MORE = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=lambda page: page.name)
def test_a_page_points_only_to_what_is_there(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    missing = [target for target in LINK.findall(text) if not (page.parent / target).exists()]
    assert missing == []


def test_the_readme_leads_to_every_guide_for_people():
    told = set(LINK.findall((ROOT / "README.md").read_text()))
    guides = {
        "two-friends",
        "family-nas",
        "marketplace",
        "everyday",
        "recovery",
        "terms",
        "security",
        "servers",
        "faq",
        "scripts",
    }
    assert {f"docs/{name}.md" for name in guides} <= told
