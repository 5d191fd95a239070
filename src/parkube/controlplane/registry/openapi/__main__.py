"""`python -m parkube.controlplane.registry.openapi`: makes the generated files."""

from __future__ import annotations

from parkube.controlplane.registry.openapi.generate import generate
from parkube.controlplane.registry.schemas.generated import writable_folder

if __name__ == "__main__":
    folder = writable_folder()
    generate(folder)
    print(f"API definitions are in {folder}")
