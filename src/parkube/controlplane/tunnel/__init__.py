"""The server's end of what agents dial: joining, tunnels, relays to nodes, and the image mirror.

Importable by the API server only; knows the access rules through the users it is handed, and no HTTP server.
"""
