"""Puts the control plane together and runs it. No rules of its own."""
