"""Certificates of lanes: random keys that live as long as one session (DESIGN 6).

Knows: X.509 as far as TLS demands it. Must not know: sockets, sessions. Nothing in a certificate is believed: both ends
got the other's over the proven session and compare it byte for byte. So it has no name and no date that could matter.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: no well-defined end. A wrong clock must not break what is compared anyway."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`der`: what the peer is told; `pem`: certificate and secret key, as OpenSSL reads them."""

    der: bytes
    pem: bytes = field(repr=False)


def make_certificate() -> Certificate:
    """Return a new self-signed certificate over a random P-256 key, with an empty subject.

    P-256 and not Ed25519: it is the one curve that every TLS 1.3 stack must have (RFC 8446, 9.1).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        der=certificate.public_bytes(serialization.Encoding.DER),
        pem=certificate.public_bytes(serialization.Encoding.PEM) + secret,
    )
