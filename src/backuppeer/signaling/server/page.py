"""The page that a person sees who opens the server's address in a browser: who learns what (docs/privacy.md).

Knows: one static page, made by tools/privacy_page.py. Must not know: who asks. No script, nothing from elsewhere, and
nothing that tells one visit from another.
"""

from http import HTTPStatus
from importlib.resources import files
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

_PAGE: Final = files(__package__).joinpath("privacy.html").read_bytes()
_HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "max-age=3600"),
    ("Connection", "close"),
)


def show_page() -> Response:
    """Return the answer that holds the page."""
    headers = Headers([*_HEADERS, ("Content-Length", str(len(_PAGE)))])
    return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, headers, _PAGE)
