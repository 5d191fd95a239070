"""`make down`: removes all that `make up` made: processes, containers, mounts, namespaces, firewall tables, data."""

from __future__ import annotations

import contextlib
import os
import sys

from scripts.demo.cleaning import remove, remove_empty_cgroups
from scripts.demo.processes import Processes
from scripts.demo.up import FOLDER, demo_cluster


def main() -> int:
    """Safe to run when nothing is there."""
    if not FOLDER.exists():
        print("down: nothing is up")
        return 0
    if os.geteuid() == 0:
        demo_cluster().down()
        remove_empty_cgroups()
    else:
        processes = Processes(FOLDER / "processes")
        for name in processes.names():
            with contextlib.suppress(PermissionError):
                processes.stop(name)
        remove(FOLDER)
    print("down: everything is gone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
