"""Container runtimes behind one port: CRI over its socket, and the hollow one for scale tests."""
