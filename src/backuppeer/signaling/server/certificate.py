"""The server's own TLS: a certificate and its key in two files, read again when whoever renews them says so.

Knows: two files. Must not know: connections. Files that don't fit leave the former pair in use.
"""

import ssl
from pathlib import Path

from backuppeer.errors import UserError


class Certificate:
    """A pair of files and the context that serves what they held when last read."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Read both.

        Raises:
            UserError: a file can't be read, or the two are no pair.

        """
        self._chain, self._key = chain, key
        self.context = self._read()

    def reload(self) -> None:
        """Read both again; connections made from now on see them, those that are open stay.

        Raises:
            UserError: a file can't be read, or the two are no pair; the former pair is used on.

        """
        self._read()  # on a context of its own first: half of a new pair must not get into ours
        self._load(self.context)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._chain, self._key, password=_refuse)
        except (OSError, ValueError) as exc:
            what = exc.strerror if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) else "not a pair"
            raise UserError(
                f"can't use the certificate {self._chain} with the key {self._key}: {what or exc}",
                hint="both are PEM files, the key without a passphrase",
            ) from exc


def _refuse() -> str:
    raise ValueError("the key has a passphrase")
