"""Who may write a repository: a head is worth something only with the grant that stands behind it.

Knows: grants and heads. Must not know: which head came before (the host's compare-and-set does), or where they lie.
"""

from typing import Final

from backuppeer.crypto.digest import Buffer
from backuppeer.errors import AuthenticationFault
from backuppeer.proof.statements import Head, WriterGrant, open_statement, peek_statement

FIRST_EPOCH: Final = 1
"""Of the grant that `init` signs; every later one was signed by a take-over."""


def verify_head(signed_head: Buffer, signed_grant: Buffer, authority: bytes) -> Head:
    """Return a head, having checked: grant signed by `authority` (32 bytes), head by the device granted.

    Both speak of the same repository and epoch. That the epoch is the highest is for the caller to know.

    Raises:
        AuthenticationFault: a signature does not hold, or grant and head do not belong together.
        ProtocolViolation: one of them is malformed.

    """
    grant = open_statement(WriterGrant, signed_grant, authority)
    claimed = peek_statement(Head, signed_head)
    if (claimed.repository, claimed.epoch, claimed.device) != (grant.repository, grant.epoch, grant.device):
        raise AuthenticationFault("a head is not by the writer whom its grant names")
    return open_statement(Head, signed_head, grant.device)
