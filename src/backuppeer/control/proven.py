"""How a host stands in audits, as `audit` and `status` show it (control.api).

Knows: one struct. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec


class AuditRow(msgspec.Struct, kw_only=True):
    """One host. state: never (not audited yet), proven, owing (some samples were not shown), caught, deaf.

    caught: at what `fault` says, within 30 days. deaf: its version of backup-peer can't be audited. audited: when it
    last answered an audit; proven: when it last showed all that it was asked for; next: when the agent audits it by
    itself, at the soonest; each may be empty. stored_bytes: what it is known to keep at the last audit; proven_bytes:
    of these, what lies in packs of which a part was shown within 30 days. acknowledged: of `packs`, those that it
    signed for. owed: samples that were not shown. spoiled: packs that came back wrong, or were not
    shown, and are not replaced yet. fault: what it was caught at last, and fault_time.
    """

    peer_id: str
    alias: str
    state: str
    audited: str = ""
    proven: str = ""
    next: str = ""
    stored_bytes: int = 0
    proven_bytes: int = 0
    packs: int = 0
    acknowledged: int = 0
    owed: int = 0
    spoiled: int = 0
    fault: str = ""
    fault_time: str = ""
