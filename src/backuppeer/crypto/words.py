"""Words that people write down or read to each other.

Knows: the BIP-39 English list, the 24 words of a master, the 8 safety words of two peers. Must not know: keys derived
from them. Words of a master are secret: no message repeats what was typed, it names the position.
"""

import difflib
import functools
import secrets
import unicodedata
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from mnemonic import Mnemonic

from backuppeer.crypto.keys import MASTER_BYTES
from backuppeer.errors import LocalError, UserError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import WORDS_CHARS

MASTER_WORDS: Final = 24
SAFETY_WORDS: Final = 8
_PREFIX_LETTERS: Final = 4  # BIP-39: the first four letters tell the words of the list apart
_WORD_BITS: Final = 11

# Cost of the safety words: 64 MiB and three passes make each try of somebody who grinds key pairs on both sides (a
# birthday attack on 88 bits) cost about 0.1 s and memory instead of a hash (DESIGN 3). Both screens must compute the
# same, so these values are part of the format.
_SAFETY_SALT: Final = b"backuppeer/v1/safety-words"
_SAFETY_MEMORY_KIB: Final = 64 * 1024
_SAFETY_PASSES: Final = 3
_SAFETY_LANES: Final = 1
_SAFETY_TAG_BYTES: Final = 32
_SUGGESTED: Final = 2
"""Words offered in place of one that is not in the list: of more, people take the first."""


def generate_master() -> bytes:
    """Return a new 32-byte master from the system's randomness."""
    return secrets.token_bytes(MASTER_BYTES)


def encode_words(master: bytes) -> str:
    """Return the 24 words (BIP-39, English) of a 32-byte master, separated by one space.

    Raises:
        LocalError: the master has not 32 bytes.

    """
    if len(master) != MASTER_BYTES:
        raise LocalError(f"a master secret has {MASTER_BYTES} bytes, not {len(master)}")
    return _mnemonic().to_mnemonic(master)


def decode_words(text: str) -> bytes:
    """Return the 32-byte master of 24 words; case, white space and unambiguous prefixes of ≥ 4 letters are accepted.

    Raises:
        UserError: another number of words, a word that is not in the list, or a checksum that does not fit.

    """
    # The cap comes before the normal form: a hostile text must not cost more than its length.
    if len(text) > WORDS_CHARS:
        raise UserError("that is not a list of 24 words", hint="type the 24 words that `init` showed")
    typed = unicodedata.normalize("NFKD", text).lower().split()
    if len(typed) != MASTER_WORDS:
        raise UserError(f"{len(typed)} words, not {MASTER_WORDS}", hint="type all 24 words in their order")
    words = [_find_word(word, position) for position, word in enumerate(typed, start=1)]
    try:
        return bytes(_mnemonic().to_entropy(words))
    except ValueError as exc:
        completed = [position for position, word in enumerate(typed, start=1) if word != words[position - 1]]
        raise UserError("the words do not fit together: the checksum is wrong", hint=_where_to_look(completed)) from exc


def _where_to_look(completed: list[int]) -> str:
    """Return advice after a wrong checksum. completed: positions of words that were typed as a prefix."""
    if not completed:
        return "a word is swapped or misread; compare each with what you wrote down"
    numbers = ", ".join(map(str, completed))
    which = f"word {numbers} was" if len(completed) == 1 else f"words {numbers} were"
    return f"a word is swapped or misread; {which} completed from the letters typed: compare first there"


@functools.lru_cache(maxsize=256)
def safety_words(a: PeerId, b: PeerId) -> str:
    """Return the 8 words that two peers compare, the same in either order: about 0.1 s and 64 MiB; the last are kept.

    Raises:
        LocalError: an id has not 32 bytes.

    """
    if len(a) != PEER_ID_BYTES or len(b) != PEER_ID_BYTES:
        raise LocalError(f"a peer id has {PEER_ID_BYTES} bytes")
    kdf = Argon2id(
        salt=_SAFETY_SALT,
        length=_SAFETY_TAG_BYTES,
        iterations=_SAFETY_PASSES,
        lanes=_SAFETY_LANES,
        memory_cost=_SAFETY_MEMORY_KIB,
    )
    number = int.from_bytes(kdf.derive(min(a, b) + max(a, b))[: SAFETY_WORDS * _WORD_BITS // 8], "big")
    shifts = range((SAFETY_WORDS - 1) * _WORD_BITS, -1, -_WORD_BITS)
    return " ".join(_mnemonic().wordlist[(number >> shift) & ((1 << _WORD_BITS) - 1)] for shift in shifts)


def list_words() -> list[str]:
    """Return the 2,048 words."""
    return list(_mnemonic().wordlist)


def complete_word(typed: str, position: int) -> str:
    """Return the word of the list that is meant: as typed, or the only one that begins so, with 4 letters or more.

    Raises:
        UserError: none is, or several; with those that may be meant. position: for the message, from 1 on.

    """
    return _find_word(typed, position)


def _find_word(typed: str, position: int) -> str:
    words = _mnemonic().wordlist
    if typed in words:
        return typed
    matches = [word for word in words if word.startswith(typed)] if len(typed) >= _PREFIX_LETTERS else []
    if len(matches) == 1:
        return matches[0]
    near = _find_near(typed, words)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "compare it with what you wrote down"
    raise UserError(f"word {position} is not in the list", hint=hint)


def _find_near(typed: str, words: list[str]) -> list[str]:
    """Return the few words that may be meant: first those with two neighbouring letters swapped, then similar ones."""
    swapped = {typed[:n] + typed[n + 1] + typed[n] + typed[n + 2 :] for n in range(len(typed) - 1)}
    similar = difflib.get_close_matches(typed, words, n=_SUGGESTED)
    return list(dict.fromkeys([*(word for word in words if word in swapped), *similar]))[:_SUGGESTED]


@functools.cache
def _mnemonic() -> Mnemonic:
    return Mnemonic("english")
