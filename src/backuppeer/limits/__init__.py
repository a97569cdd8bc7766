"""Every cap, timeout and bucket, with its unit in the name and its reason beside it.

Knows: numbers. Must not know: anything else. Each cap on input from outside has a test that reaches it. Files by who
needs them; everybody imports from here.
"""

from backuppeer.limits.agent import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.auditor import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.audits import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.doctor import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.engine import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.format import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.invites import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.lan import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.network import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.notifications import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.peers import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.receipts import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.recovery import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.relay import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.service import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.terms import *  # noqa: F403 - this is its whole purpose
from backuppeer.limits.units import *  # noqa: F403 - this is its whole purpose
