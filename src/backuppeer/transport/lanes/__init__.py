"""Lanes: bulk bytes over TLS 1.3 on TCP, beside a proven session (DESIGN 6).

A quarter of QUIC's processor time where a direct connection is possible (FACTS). A lane proves nothing by itself: both
ends were told the other's certificate over the session, and accept exactly that one.
"""

from backuppeer.transport.lanes.door import LaneDoor, dial_lane
from backuppeer.transport.lanes.lane import Lane, LaneStream

__all__ = ["Lane", "LaneDoor", "LaneStream", "dial_lane"]
