"""Services that are told: a webhook and a mail server, real ones on loopback."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Webhook(http.server.ThreadingHTTPServer):
    """Takes what is posted; answers with `code`, or not at all as long as `is_hanging`, or without an end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.heard: list[dict] = []
        self.passwords: list[str] = []
        self.code, self.is_hanging, self.ending = 200, False, threading.Event()
        self.is_endless = False

    @property
    def url(self) -> str:
        return f"json://user:pass-of-hook@127.0.0.1:{self.server_port}/hook"


class _Post(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.is_hanging:
            self.server.ending.wait()
            return
        self.server.passwords.append(self.headers.get("Authorization", ""))
        if self.server.code == 200:
            self.server.heard.append(json.loads(body))
        self.send_response(self.server.code)
        self.end_headers()
        piece = bytes(1 << 20)
        with suppress(OSError):  # whoever asked has enough
            while self.server.is_endless and not self.server.ending.is_set():
                self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as one letter needs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.letters: list[str] = []

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.server_address[1]}/?from=me@home.example&to=you@home.example&mode=insecure"


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.letters.append(self._read_letter())
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")

    def _read_letter(self) -> str:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines).decode()


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    """Run a server in a thread until the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        if isinstance(server, Webhook):
            server.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()
