"""Storage: claims are bound to volumes, volumes are made and reclaimed, and what is in use is protected."""
