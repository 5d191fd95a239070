"""What can go wrong while the demonstration is set up."""

from __future__ import annotations


class DemoError(Exception):
    """One sentence that says what did not work and where to look."""
