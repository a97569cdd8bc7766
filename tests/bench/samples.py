"""Samples that nobody measured."""

from results import Sample


def sample(row="large", work="first", peer="backup-peer", number=0, **fields):
    values = {"scale": 1.0, "seconds": 2.0, "files": 4, "size_bytes": 2 << 30, "synced": f"{peer}: all"} | fields
    return Sample(row=row, work=work, peer=peer, round=number, **values)
