"""Safety words off the event loop, one pair at a time.

Knows: that each new pair takes 64 MiB and a tenth of a second. Must not know: who is shown them. A thread of its own,
because the threads of the loop serve the disk: a list of strangers must not hold up a partner's packs.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from backuppeer.crypto.words import safety_words
from backuppeer.ids import PeerId

_SPELLER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="words")


async def spell_safety_words(own: PeerId, peer: PeerId) -> str:
    """Return the words that two peers compare."""
    return await asyncio.get_running_loop().run_in_executor(_SPELLER, safety_words, own, peer)
