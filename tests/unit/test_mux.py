"""Streams over one connection: nothing is lost, reordered or sent to the wrong stream, whatever the interleaving."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.kubeapi import mux as m
from parkube.kubeapi.mux import Mux, MuxError, Stream


class Pipe(asyncio.Transport):
    """A connection in memory: what is written waits until the test moves it, in pieces of the test's choosing."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = bytearray()
        self.peer: Mux | None = None
        self.mine: Mux | None = None
        self.writes = 0
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.writes += 1
            self.wire += data

    def move(self, size: int = 1 << 30) -> int:
        """Deliver up to `size` bytes to the other end."""
        piece = bytes(self.wire[:size])
        del self.wire[:size]
        if piece and self.peer is not None and self.peer.transport is not None:
            self.peer.data_received(piece)
        return len(piece)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.mine is not None
            asyncio.get_running_loop().call_soon(self.mine.connection_lost, None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("10.0.0.1", 1)}.get(name, default)


class End(asyncio.Protocol):
    """A stream's protocol that writes down what happens to it; half-closed streams stay open for writing."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.got = bytearray()
        self.eof = self.lost = self.paused = False
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Stream)
        self.stream = transport

    def data_received(self, data: bytes) -> None:
        assert not self.eof
        assert not self.lost
        self.got += data

    def eof_received(self) -> bool:
        assert not self.eof
        self.eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost
        self.lost, self.error = True, exc

    def pause_writing(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_writing(self) -> None:
        assert self.paused
        self.paused = False


class Pair:
    """Two ends joined by two pipes."""

    def __init__(self) -> None:
        self.accepted: list[End] = []
        self.lost: list[Exception | None] = []
        self.left = Mux(self.accept, dialled=True, on_lost=self.lost.append)
        self.right = Mux(self.accept, dialled=False, on_lost=self.lost.append)
        self.to_right, self.to_left = Pipe(), Pipe()
        self.to_right.mine, self.to_right.peer = self.left, self.right
        self.to_left.mine, self.to_left.peer = self.right, self.left
        self.left.connection_made(self.to_right)
        self.right.connection_made(self.to_left)

    def accept(self) -> End:
        end = End()
        self.accepted.append(end)
        return end

    async def settle(self, size: int = 1 << 30) -> None:
        """Until nothing moves any more."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            moved = self.to_right.move(size) + self.to_left.move(size)
            quiet = 0 if moved else quiet + 1

    async def open(self, mux: Mux) -> tuple[End, End]:
        end = End()
        mux.open(end)
        await self.settle()
        return end, self.accepted[-1]


async def test_both_ends_open_streams_and_answer_on_them() -> None:
    pair = Pair()
    ours, theirs = await pair.open(pair.left)
    assert ours.stream is not None
    assert theirs.stream is not None
    ours.stream.write(b"GET")
    theirs.stream.write(b"OK")
    back, forth = await pair.open(pair.right)
    assert back.stream is not None
    back.stream.write(b"log")
    await pair.settle()
    assert (ours.got, theirs.got, forth.got) == (b"OK", b"GET", b"log")
    assert theirs.stream.get_extra_info("peername") == ("10.0.0.1", 1)


async def test_one_write_a_turn() -> None:
    pair = Pair()
    ends = [(await pair.open(pair.left))[0] for _ in range(10)]
    before = pair.to_right.writes
    for end in ends:
        assert end.stream is not None
        end.stream.write(b"x" * 100)
    await asyncio.sleep(0)
    assert pair.to_right.writes == before + 1


async def test_half_close_keeps_the_other_direction() -> None:
    pair = Pair()
    ours, theirs = await pair.open(pair.left)
    assert ours.stream is not None
    assert theirs.stream is not None
    ours.stream.write(b"question")
    ours.stream.write_eof()
    await pair.settle()
    assert theirs.eof
    assert not theirs.lost
    theirs.stream.write(b"answer")
    theirs.stream.write_eof()
    await pair.settle()
    assert ours.got == b"answer"
    assert (ours.lost, theirs.lost, ours.error, theirs.error) == (True, True, None, None)
    assert (pair.left.streams, pair.right.streams) == (0, 0)
    with pytest.raises(RuntimeError):
        ours.stream.write(b"more")


async def test_a_paused_reader_holds_back_its_own_stream_alone() -> None:
    pair = Pair()
    slow, slow_writer = await pair.open(pair.left)
    quick, quick_writer = await pair.open(pair.left)
    assert slow.stream
    assert slow_writer.stream
    assert quick_writer.stream
    slow.stream.pause_reading()
    total = 3 * m.STREAM_WINDOW
    slow_writer.stream.write(b"s" * total)
    quick_writer.stream.write(b"q" * total)
    await pair.settle()
    assert len(quick.got) == total
    assert len(slow.got) == 0
    assert slow_writer.paused
    assert slow_writer.stream.get_write_buffer_size() == total - m.STREAM_WINDOW
    slow.stream.resume_reading()
    await pair.settle()
    assert len(slow.got) == total
    assert not slow_writer.paused


async def test_big_writes_take_turns() -> None:
    pair = Pair()
    _, one = await pair.open(pair.left)
    _, two = await pair.open(pair.left)
    assert one.stream
    assert two.stream
    one.stream.write(b"1" * (4 * m.MAX_FRAME))
    two.stream.write(b"2" * 10)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    head = bytes(pair.to_left.wire[: 3 * m.MAX_FRAME])
    assert b"2222222222" in head


async def test_congestion_below_stops_the_streams_and_lets_them_go_on() -> None:
    pair = Pair()
    ours, theirs = await pair.open(pair.left)
    assert ours.stream
    pair.left.pause_writing()
    ours.stream.write(b"x" * 200_000)
    await pair.settle()
    assert not theirs.got
    assert ours.paused
    pair.left.resume_writing()
    await pair.settle()
    assert len(theirs.got) == 200_000
    assert not ours.paused


async def test_close_sends_what_was_written_and_stops_the_peer() -> None:
    pair = Pair()
    ours, theirs = await pair.open(pair.left)
    assert ours.stream
    assert theirs.stream
    theirs.stream.pause_reading()
    ours.stream.write(b"z" * 400_000)
    ours.stream.close()
    await pair.settle()
    assert not ours.lost, "bytes still wait for the reader"
    theirs.stream.write(b"nobody reads this")
    theirs.stream.resume_reading()
    await pair.settle()
    assert len(theirs.got) == 400_000
    assert (ours.lost, theirs.lost, ours.got) == (True, True, b"")


async def test_abort_and_a_lost_connection() -> None:
    pair = Pair()
    ours, theirs = await pair.open(pair.left)
    assert ours.stream
    ours.stream.abort()
    await pair.settle()
    assert ours.error is None
    assert isinstance(theirs.error, ConnectionResetError)
    ours, theirs = await pair.open(pair.right)
    pair.left.connection_lost(OSError("cable"))
    await pair.settle()
    assert theirs.lost
    assert [str(e) for e in pair.lost] == ["cable"]
    with pytest.raises(MuxError):
        pair.left.open(End())


async def test_a_protocol_that_fails_ends_its_stream_alone() -> None:
    pair = Pair()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))

    class Broken(End):
        def data_received(self, data: bytes) -> None:
            raise ValueError("bug")

    good, _ = await pair.open(pair.left)
    broken = Broken()
    pair.left.open(broken)
    await pair.settle()
    feeder = pair.accepted[-1].stream
    assert feeder
    feeder.write(b"x")
    await pair.settle()
    assert broken.lost
    assert not good.lost
    assert [str(e) for e in told] == ["bug"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack(">BII", m.DATA, 77, 3) + b"abc",
        struct.pack(">BII", m.DATA, 1, m.MAX_FRAME + 1),
        struct.pack(">BII", m.OPEN, 2, 0),
        struct.pack(">BII", m.FIN, 9, 0),
        struct.pack(">BII", m.OPEN, 3, 0) * 2,
    ],
)
async def test_garbage_ends_the_connection(garbage: bytes) -> None:
    pair = Pair()
    await pair.open(pair.left)
    pair.right.data_received(garbage)
    await pair.settle()
    assert pair.to_left.closed
    assert isinstance(pair.lost[0], MuxError)


async def test_more_than_the_window_is_refused() -> None:
    pair = Pair()
    _, theirs = await pair.open(pair.left)
    assert theirs.stream
    theirs.stream.pause_reading()
    frame = struct.pack(">BII", m.DATA, 1, m.MAX_FRAME) + bytes(m.MAX_FRAME)
    for _ in range(m.STREAM_WINDOW // m.MAX_FRAME + 1):
        pair.right.data_received(frame)
    await asyncio.sleep(0)
    assert isinstance(theirs.error, MuxError)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.booleans(), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, 11), st.sampled_from([1, 9, 300, 40_000, 300_000])),
        st.tuples(st.sampled_from(["eof", "pause", "resume", "close"]), st.integers(0, 11), st.just(0)),
        st.tuples(st.sampled_from(["left", "right"]), st.just(0), st.sampled_from([1, 8, 10, 500, 100_000])),
        st.tuples(st.just("congest"), st.booleans(), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_any_interleaving_delivers_all_in_order(script: list[tuple[str, Any, int]]) -> None:
    asyncio.run(_play(script))


async def _play(script: list[tuple[str, Any, int]]) -> None:
    pair = Pair()
    ends: list[tuple[End, End]] = []
    sent: dict[int, bytearray] = {}
    ended: dict[int, str] = {}
    counter = 0
    for what, which, size in script:
        if what == "open" and len(ends) < 6:
            ends.append(await pair.open(pair.left if which else pair.right))
        elif what in ("left", "right"):
            (pair.to_left if what == "left" else pair.to_right).move(size)
        elif what == "congest":
            mux = pair.left if which else pair.right
            (mux.resume_writing if mux.congested else mux.pause_writing)()
        elif ends and what != "open":
            end = ends[which // 2 % len(ends)][which % 2]
            assert end.stream is not None
            if what == "write" and not ended.get(id(end)):
                counter += 1
                data = struct.pack(">I", counter) * (size // 4 + 1)
                end.stream.write(data)
                sent.setdefault(id(end), bytearray()).extend(data)
            elif what == "eof":
                end.stream.write_eof()
                ended.setdefault(id(end), "eof")
            elif what == "close":
                end.stream.close()
                ended[id(end)] = "close"
            elif what == "pause":
                end.stream.pause_reading()
            elif what == "resume":
                end.stream.resume_reading()
        await asyncio.sleep(0)
    await _let_go(pair, ends)
    _check(pair, ends, sent, ended)


async def _let_go(pair: Pair, ends: list[tuple[End, End]]) -> None:
    """Everything that was held back moves."""
    for mux in (pair.left, pair.right):
        mux.resume_writing()
    for one, two in ends:
        for end in (one, two):
            assert end.stream is not None
            end.stream.resume_reading()
    await pair.settle()


def _check(pair: Pair, ends: list[tuple[End, End]], sent: dict[int, bytearray], ended: dict[int, str]) -> None:
    for one, two in ends:
        for writer, reader in ((one, two), (two, one)):
            wrote = bytes(sent.get(id(writer), b""))
            if ended.get(id(reader)) == "close":
                assert wrote.startswith(bytes(reader.got))
            else:
                assert bytes(reader.got) == wrote
                assert reader.eof == (id(writer) in ended)
        both = (id(one) in ended and id(two) in ended) or "close" in (ended.get(id(one)), ended.get(id(two)))
        assert (one.lost, two.lost) == (both, both)
        assert not one.paused
        assert not two.paused
    assert (pair.left.streams, pair.right.streams) == (sum(not o.lost for o, _ in ends),) * 2
