"""The cluster's names, answered on every node: records (pure), messages, and the sockets."""
