"""The framings of streams by themselves: SPDY's dictionary, WebSocket messages, and two connections joined."""

from __future__ import annotations

import asyncio
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from parkube.kubeapi.splice import Splice
from parkube.nodeagent.streams import websocket
from parkube.nodeagent.streams.spdy import dictionary
from tests.unit.test_mux import Pair


def test_the_dictionary_is_the_published_one() -> None:
    import zlib

    assert (len(dictionary()), zlib.adler32(dictionary())) == (1423, 0xE3C6A7C2)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=70000)), max_size=4), st.integers(1, 999))
def test_websocket_messages_survive_any_cut(messages: list[tuple[int, bytes]], cut: int) -> None:
    def client_frame(opcode: int, payload: bytes) -> bytes:
        plain = websocket.frame(opcode, payload)
        at = len(plain) - len(payload)
        return bytes((plain[0], plain[1] | 0x80)) + plain[2:at] + b"\0\0\0\0" + payload

    wire = b"".join(client_frame(*message) for message in messages)
    reader = websocket.Reader()
    got = [m for i in range(0, len(wire), cut * 50) for m in reader.feed(wire[i : i + cut * 50])]
    assert [tuple(m) for m in got] == messages


async def test_splice_waits_for_the_slower_side() -> None:
    one, two = Splice(), Splice()
    pair = Pair()
    pair.left.open(one)
    one.data_received(b"early")
    one.join(two)
    pair.left.open(two)
    await pair.settle()
    assert [bytes(end.got) for end in pair.accepted] == [b"", b"early"]
    assert pair.accepted[0].stream is not None
    one.eof_received()
    await pair.settle()
    assert pair.accepted[1].eof


async def test_an_end_that_comes_to_a_connection_just_reset_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near, far = Splice(), Splice()
        await asyncio.get_running_loop().create_connection(lambda: far, *server.getsockname())
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()  # a reset, which the loop has had no turn to read
        near.join(far)
        near.eof_received()
        assert far.transport is not None
        assert far.transport.is_closing()
