"""A browse that tells what came before all servers have answered.

Knows: shapes. Must not know: how long anybody waits.
"""

import msgspec

from backuppeer.control.api import BrowseRow


class BrowseDone(msgspec.Struct, kw_only=True):
    """`browse/live`: all rows, best first; some of them came before, in `rows` events."""

    offers: list[BrowseRow]
