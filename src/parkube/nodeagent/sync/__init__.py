"""Brings the runtime to what the API asks, pod by pod, and writes back what became of it."""
