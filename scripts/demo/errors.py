"""What can go wrong while the demonstration is set up, and how it is said."""

from __future__ import annotations

import sys
from collections.abc import Callable


class DemoError(Exception):
    """One sentence that says what did not work and where to look."""


def exit_status(bring_up: Callable[[], None]) -> int:
    """0, or 1 with one clear message when a step fails."""
    try:
        bring_up()
    except DemoError as error:
        print(f"up: {error}\nup: `make down` removes what was made so far", file=sys.stderr)
        return 1
    return 0
