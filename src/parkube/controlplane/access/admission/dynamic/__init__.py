"""Admission that users configure: webhooks and policies in CEL. What is asked whom is `matching`; the rest calls."""
