"""BackupPeer's agent without lanes, for the row `quic`: all bulk goes over QUIC, as between peers with no direct TCP.

Knows: the one number that says how often a session may try to get a lane. Must not know: anything else.
"""

import sys
from unittest.mock import patch

from backuppeer.cli.serve import main

if __name__ == "__main__":
    # No setting exists for it on purpose: a lane that can't be had costs nobody anything.
    with patch("backuppeer.agent.peers.lanes.LANE_ATTEMPTS", 0):
        sys.exit(main())
