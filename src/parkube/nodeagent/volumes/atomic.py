"""Files that change all at once: a folder of links into a dated folder that one rename swaps, as kubelet writes them.

data.json -> ..data/data.json      ..data -> ..2026_11_23_14_00_00.1      ..2026_11_23_14_00_00.1/data.json
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import NamedTuple

_serial = count()


class File(NamedTuple):
    """Content, mode and owner group (None: root's) of one projected file."""

    data: bytes
    mode: int = 0o644
    gid: int | None = None
    uid: int | None = None


def write_files(root: Path, files: Mapping[str, File]) -> bool:
    """Make `root` hold exactly `files` (relative paths); True when something changed.

    Raises `ValueError` for a path that would leave the folder.
    """
    for path in files:
        parts = Path(path).parts
        if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
            raise ValueError(f'"{path}" is not a path inside a volume')
    root.mkdir(parents=True, exist_ok=True)
    link = root / "..data"
    before = Path(os.readlink(link)) if link.is_symlink() else None
    if before is not None and _same(root / before, files):
        return False
    fresh = f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{os.getpid()}{next(_serial)}"
    for path, file in files.items():
        target = root / fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode)
        if file.gid is not None or file.uid is not None:
            os.chown(target, -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid)
    (root / fresh).mkdir(exist_ok=True)
    swap = root / "..data_new"
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh)
    swap.replace(link)
    _links(root, files)
    if before is not None:
        shutil.rmtree(root / before, ignore_errors=True)
    return True


def _links(root: Path, files: Mapping[str, File]) -> None:
    wanted = {Path(path).parts[0] for path in files}
    for name in wanted:
        link = root / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    for entry in root.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()


def _same(folder: Path, files: Mapping[str, File]) -> bool:
    try:
        found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        return found == set(files) and all(
            (folder / path).read_bytes() == file.data and (folder / path).stat().st_mode & 0o7777 == file.mode
            for path, file in files.items()
        )
    except OSError:
        return False
