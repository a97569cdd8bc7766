"""Pairs that sign receipts, as many as a test wants: real keys, real statements."""

import msgspec

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import GIB
from backuppeer.proof.receipts import MONTH_MS, Receipt, Shown, Vouch, open_receipt
from backuppeer.proof.statements import ZERO_HASH, sign_statement

START = 1_795_000_000_000


def key(number: int) -> SigningKey:
    return SigningKey.from_seed(number.to_bytes(32, "big"))


def peer(number: int) -> PeerId:
    return PeerId(key(number).public)


def receipt(owner: int, host: int, *, months: int = 1, one_sided: bool = False, start: int = START, **fields) -> Shown:
    """Return the newest receipt of an unbroken row of months."""
    said = Receipt(
        agreement=AgreementId(bytes(8) + owner.to_bytes(4, "big") + host.to_bytes(4, "big")),
        owner=peer(owner),
        host=peer(host),
        number=months,
        previous=ZERO_HASH if months == 1 else bytes(31) + b"p",
        since_ms=start,
        from_ms=start + (months - 1) * MONTH_MS,
        until_ms=start + months * MONTH_MS,
        size_bytes=31 * GIB,
        kept=True,
        private=False,
    )
    said = msgspec.structs.replace(said, **fields)
    keys = (key(owner),) if one_sided or not said.kept else (key(owner), key(host))
    return open_receipt(sign_statement(said, *keys))


def vouch(voucher: int, about: int, *, at: int = START, days: int = 365) -> tuple[Vouch, bytes]:
    said = Vouch(voucher=peer(voucher), peer=peer(about), time_ms=at, until_ms=at + days * 86_400_000)
    return said, sign_statement(said, key(voucher))
