"""What the server asks of the agent over the tunnel: logs, exec, attach. Knows containers, not what runs in them."""

from parkube.nodeagent.streams.server import Containers, StreamServer

__all__ = ["Containers", "StreamServer"]
