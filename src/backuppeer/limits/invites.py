"""Limits of invites (DESIGN 10, ADR 75). See `limits`."""

from typing import Final

INVITE_CHARS: Final = 1000
"""Of an invite's text; up to 1,023 its checksum finds every error in three characters. A usual one has 95."""
INVITE_SERVERS: Final = 2
"""That it names: each makes its text, and the squares that a camera must read, a third longer."""
INVITE_LIFE_S: Final = 86400
"""Unless its person says otherwise."""
INVITE_LIFE_MOST_S: Final = 90 * 86400
"""As long as servers keep what leads to the slot."""
INVITE_USES_MOST: Final = 32
INVITES_KEPT: Final = 64
"""Of this home's own, those that are over included, so that what became of them can be told."""
INVITES_OPENED: Final = 64
"""Of others', as long as they lead to hosts of ours or may still do."""
INVITE_LABEL_CHARS: Final = 64
CARD_LIFE_S: Final = 24 * 3600
"""How long a card counts: the key in it is a day old at most when it is made, and opens knocks for another day."""
CARD_REFRESH_S: Final = 6 * 3600.0
CARD_AGAIN_S: Final = 60.0
"""After a server could not be reached."""
SPOKEN_S: Final = 600
"""How long a spoken code waits to be said."""
SPOKEN_LEFT_S: Final = 3600
"""How long the invite that was handed over is good: its bearer's person still reads what connecting means."""
SPOKEN_REPLY_S: Final = 30.0
"""How long who said it waits for the answer: the other side is at its screen, or the code is over."""
NAMEPLATES: Final = 9999
"""Numbers that codes begin with, at one server."""
NAMEPLATE_TRIES: Final = 8
"""Numbers that are looked at before nobody finds a free one: of one, two, three and four digits, two each."""
