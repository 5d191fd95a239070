"""CRI v1 over a unix socket: a small protobuf codec, its message tables, and the runtime on top."""
