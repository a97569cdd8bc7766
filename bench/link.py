"""BackupPeer over a line as many homes have: 100 Mbit/s, 50 ms there and back, one queue at each end.

Knows: how the line is laid, the verbs. Must not know: the package. Owner and host are in network namespaces that reach
only each other; the signaling server is on the host's side. Aims compare the bytes of files with the line's whole rate,
in which headers and what is sealed around the files are not counted: 0.95 would be perfect. Needs root and `ip`.
"""

import os
import subprocess
import sys
from pathlib import Path

from meter import Meter
from ours import Pair
from shaping import OTHER_ADDRESS

MBIT_S = 100
ROUND_TRIP_MS = 50
RATE_BYTES_S = MBIT_S * 1e6 / 8
LANES = "link-lanes"
QUIC = "link-quic"
_SHAPING = Path(__file__).resolve().with_name("shaping.py")


class LinkedPair(Pair):
    """A pair at the two ends of the line. Namespaces have names of their own: `ip` knows them machine-wide."""

    listen = f"{OTHER_ADDRESS}:8443"
    bind = ""

    def __init__(self, root: Path, meter: Meter, *, is_quic_only: bool = False) -> None:
        """Lay the line, and set up both.

        Raises:
            SystemExit: this needs root, iproute2 and a kernel with TUN devices.

        """
        mark = f"bl{os.getpid()}{'q' if is_quic_only else 't'}"
        self._spaces = {"owner": f"{mark}o", "host": f"{mark}h", "server": f"{mark}h"}
        self._line: subprocess.Popen[bytes] | None = None
        try:
            self._lay()
            super().__init__(root, meter, is_quic_only=is_quic_only)
        except BaseException:
            self._take_down()
            raise
        self.name = QUIC if is_quic_only else LANES

    def close(self) -> None:
        """End all of it."""
        super().close()
        self._take_down()

    def prefix(self, home: str) -> tuple[str, ...]:
        """Return what makes a command run at its end of the line."""
        return ("ip", "netns", "exec", self._spaces[home])

    def _lay(self) -> None:
        try:
            for name in dict.fromkeys(self._spaces.values()):
                subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
                subprocess.run(["ip", "-n", name, "link", "set", "dev", "lo", "up"], check=True, capture_output=True)
        except (subprocess.CalledProcessError, FileNotFoundError) as exc:
            raise SystemExit("row link: network namespaces need root and iproute2") from exc
        words = [sys.executable, str(_SHAPING), self._spaces["owner"], self._spaces["host"]]
        self._line = subprocess.Popen([*words, str(MBIT_S), str(ROUND_TRIP_MS)], stdout=subprocess.PIPE)
        if self._line.stdout is None or not self._line.stdout.readline():
            raise SystemExit("row link: no TUN devices here")

    def _take_down(self) -> None:
        if self._line is not None:
            self._line.kill()
            self._line.communicate()
        for name in dict.fromkeys(self._spaces.values()):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
