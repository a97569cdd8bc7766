"""Make catalogue and files agree: the files are the truth, the catalogue is their list.

Knows: which files may be trusted. Must not know: quotas, peers. A file that the catalogue lists needs its right length
only. A file it does not list is trusted when its leaf hashes lead to its name (every named file was fsynced whole);
with `verify` every byte of every file is hashed. What can't be trusted is not listed and stays where it is: a new
upload replaces it.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from backuppeer.errors import DamagedStateError
from backuppeer.host.catalogue import Catalogue, PackRow
from backuppeer.host.disk import sync_directory, translate_failures
from backuppeer.host.layout import AGREEMENT_ID_BYTES, LEAVES_SUFFIX, STORED_ID_BYTES, Layout, parse_hex_name
from backuppeer.host.reader import PackReader
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import PACK_TARGET_BYTES

_PREFIXES: Final = 256


@dataclass(slots=True)
class Reconciliation:
    """What was found: packs listed anew, files whose bytes can't be trusted, how many of an agreement's are gone."""

    added: int = 0
    missing: Counter[AgreementId] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return sentences for the host's human; none of what is missing, which is somebody's (`missing`)."""
        lines = []
        if self.added:
            was = "pack was" if self.added == 1 else "packs were"
            lines.append(f"{self.added} {was} on the disk but not in the catalogue: listed again")
        if self.damaged:
            shown = ", ".join(self.damaged[:3])
            are = "pack is" if len(self.damaged) == 1 else "packs are"
            lines.append(f"{len(self.damaged)} {are} damaged and no longer listed: {shown}")
        return lines


def reconcile(layout: Layout, catalogue: Catalogue, *, verify: bool) -> Reconciliation:
    """Walk all packs, one folder of 1/256 of an agreement at a time, and correct the catalogue.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    result = Reconciliation()
    with translate_failures(layout.root):
        folders = {raw: path for path in layout.agreements.iterdir() if (raw := _agreement_of(path)) is not None}
    for agreement in sorted(folders.keys() | catalogue.count_packs().keys()):
        present = _list_folders(layout, agreement)
        for prefix in range(_PREFIXES):
            listed = catalogue.packs_of_prefix(agreement, prefix)
            # A small agreement has packs in few of these folders, and each open of the store looks at all.
            if listed or f"{prefix:02x}" in present:
                at = _Slice(agreement, prefix, listed)
                _reconcile_prefix(layout, catalogue, at, verify=verify, result=result)
    return result


def sweep_incoming(layout: Layout) -> int:
    """Remove what an earlier run was receiving when it ended; return how many files that were.

    Raises:
        OSError: as the system says; the caller translates.

    """
    swept = 0
    with os.scandir(layout.incoming) as entries:
        for entry in entries:
            # Nothing in here was ever acknowledged, and the store's lock says that nobody is receiving now.
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 - the entry's own path, no object per file
                swept += 1
    return swept


def _agreement_of(path: Path) -> AgreementId | None:
    raw = parse_hex_name(path.name, AGREEMENT_ID_BYTES)
    return None if raw is None else AgreementId(raw)


def _list_folders(layout: Layout, agreement: AgreementId) -> set[str]:
    with translate_failures(layout.root):
        try:
            return {path.name for path in layout.packs(agreement).iterdir()}
        except FileNotFoundError:
            return set()


class _Slice(NamedTuple):
    """The packs of an agreement whose ids begin with the byte `prefix`, as they are listed: id to length."""

    agreement: AgreementId
    prefix: int
    listed: dict[StoredId, int]


def _reconcile_prefix(  # the seam between one folder and one slice of the catalogue
    layout: Layout, catalogue: Catalogue, at: _Slice, *, verify: bool, result: Reconciliation
) -> None:
    agreement, prefix, listed = at
    folder = layout.packs(agreement) / f"{prefix:02x}"
    with translate_failures(layout.root):
        found = _scan(folder, prefix)
        good, add = set(), []
        for stored, size in found.items():
            known = listed.get(stored) == size
            if (known and not verify) or _is_trusted(layout, agreement, stored=stored, size=size, verify=verify):
                good.add(stored)
                if not known:
                    add.append(PackRow(stored, size))
            else:
                result.damaged.append(stored.hex())
    drop = [stored for stored in listed if stored not in good]
    result.added += sum(row.stored not in listed for row in add)
    # One that was deleted and is gone was being erased when the machine stopped: nothing is missing.
    alive = catalogue.list_alive(agreement, drop)
    if gone := sum(stored not in found for stored in alive):
        result.missing[agreement] += gone
    if alive:
        # Before the rows go, with which all knowledge of these packs would go: their owner is to be told (losses.py).
        catalogue.suspect(agreement, alive)
    if add:
        with translate_failures(layout.root):
            # Whoever was killed between rename and fsync left names that a power cut may take back: what is listed is
            # acknowledged, and so has to be durable first. The files themselves were, before they had names.
            sync_directory(folder)
        catalogue.suspect(agreement, [row.stored for row in add], is_back=True)
    if add or drop:
        catalogue.change_packs(agreement, add=add, drop=drop)


def _scan(folder: Path, prefix: int) -> dict[StoredId, int]:
    """Return the packs of a folder with their lengths; leaf hashes without a pack are removed."""
    packs: dict[StoredId, int] = {}
    leaves: list[str] = []
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return {}
    with entries:
        for entry in entries:
            raw = parse_hex_name(entry.name, STORED_ID_BYTES)
            if raw is not None and raw[0] == prefix and entry.is_file(follow_symlinks=False):
                packs[StoredId(raw)] = entry.stat(follow_symlinks=False).st_size
            elif entry.name.endswith(LEAVES_SUFFIX):
                leaves.append(entry.name)
    for name in leaves:
        if parse_hex_name(name.removesuffix(LEAVES_SUFFIX), STORED_ID_BYTES) not in packs:
            # Derived from a pack that was never finished here; without the pack it means nothing.
            (folder / name).unlink()
    return packs


def _is_trusted(layout: Layout, agreement: AgreementId, *, stored: StoredId, size: int, verify: bool) -> bool:
    if not 0 < size <= PACK_TARGET_BYTES:
        return False
    try:
        with PackReader(layout.pack(agreement, stored), root=layout.root, stored=stored, size=size) as reader:
            if verify:
                reader.verify()
            else:
                reader.leaves()
    except DamagedStateError:
        return False
    return True
