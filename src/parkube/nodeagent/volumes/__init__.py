"""Makes the folders that containers mount. It does not know what a container is."""
