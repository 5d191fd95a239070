"""`python -m parkube.controlplane.main DIR [PORT]`: a bare server; `parkube server` is the command."""

from __future__ import annotations

import sys
from pathlib import Path

from parkube.controlplane.main.config import ServerConfig
from parkube.controlplane.main.run import main

if __name__ == "__main__":
    directory = Path(sys.argv[1]).absolute()
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 6443
    config = ServerConfig(
        data_dir=directory,
        write_kubeconfig=directory / "parkube.yaml",
        https_listen_port=port,
        disable_agent=True,
        memory_store="--memory" in sys.argv,
    )
    sys.exit(main(config))
