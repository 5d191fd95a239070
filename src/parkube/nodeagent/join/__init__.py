"""How the agent becomes a node and stays connected: token, certificate, the one connection to the server, and the
local end of the image mirror. Knows nothing of pods.
"""

from parkube.nodeagent.join.errors import JoinError
from parkube.nodeagent.join.identity import Identity
from parkube.nodeagent.join.joining import join, renew_when_due
from parkube.nodeagent.join.uplink import Uplink

__all__ = ["Identity", "JoinError", "Uplink", "join", "renew_when_due"]
