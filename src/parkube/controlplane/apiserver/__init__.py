"""The API server: HTTP on any transport, and every verb over the catalogue. Rules of kinds and rights are elsewhere."""
