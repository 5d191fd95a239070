"""The store's contract, on every implementation, and what each adds of its own."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parkube.controlplane.storage.memory import MemoryStore
from parkube.controlplane.storage.port import Change, Compacted, RevisionMismatch, Store, StoreError, StoreFull
from parkube.controlplane.storage.sqlite import SqliteStore
from parkube.controlplane.storage.sqlite_file import Row

Make = Callable[[Path], Store]
KINDS: dict[str, Make] = {"memory": lambda _: MemoryStore(), "sqlite": lambda path: SqliteStore(path / "state.db")}


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = KINDS[request.param](tmp_path)
    await made.start()
    yield made
    await made.close()


async def test_compare_and_set(store: Store) -> None:
    first = await store.put("/a/x", b"1", expected=0)
    for wrong in (0, first + 1):
        with pytest.raises(RevisionMismatch) as caught:
            await store.put("/a/x", b"2", expected=wrong)
        assert caught.value.actual == first
    second = await store.put("/a/x", b"2", expected=first)
    assert second > first
    with pytest.raises(RevisionMismatch):
        await store.delete("/a/x", expected=first)
    gone = await store.delete("/a/x", expected=second)
    assert gone > second == second
    assert await store.get("/a/x") is None
    with pytest.raises(RevisionMismatch) as caught:
        await store.delete("/a/x")
    assert caught.value.actual == 0
    assert await store.put("/a/x", b"3", expected=0) == store.revision


async def test_ranges_page_at_one_revision(store: Store) -> None:
    for name in "abcde":
        await store.put(f"/p/{name}", name.encode())
    await store.put("/q/a", b"other")
    at = (await store.range("/p/", limit=2)).revision
    await store.delete("/p/c")
    await store.put("/p/d", b"changed")
    await store.put("/p/dd", b"new")
    page = await store.range("/p/", limit=2, revision=at)
    assert ([i.key for i in page.items], page.more, page.revision) == (["/p/a", "/p/b"], True, at)
    rest = await store.range("/p/", after="/p/b", revision=at)
    assert [(i.key, i.value) for i in rest.items] == [("/p/c", b"c"), ("/p/d", b"d"), ("/p/e", b"e")]
    now = await store.range("/p/")
    assert [(i.key, i.value) for i in now.items][2:] == [("/p/d", b"changed"), ("/p/dd", b"new"), ("/p/e", b"e")]
    assert now.items[2].revision > at


async def test_watches_are_ordered_and_gap_free_from_a_revision(store: Store) -> None:
    start = await store.put("/p/a", b"1")
    await store.put("/p/b", b"1")
    await store.put("/q/b", b"not asked for")
    await store.delete("/p/a")
    heard: list[Change] = []
    cancel = store.watch("/p/", heard.extend, after_revision=start)
    await store.put("/p/c", b"1")
    assert [(c.key, c.value) for c in heard] == [("/p/b", b"1"), ("/p/a", None), ("/p/c", b"1")]
    assert heard[1].previous == b"1"
    assert [c.revision for c in heard] == sorted(c.revision for c in heard)
    cancel()
    await store.put("/p/c", b"2")
    assert len(heard) == 3


async def test_listeners_hear_before_the_writer_is_answered_and_one_failing_stops_nobody(store: Store) -> None:
    heard: list[Change] = []

    def bad(_: Sequence[Change]) -> None:
        raise ValueError("broken listener")

    store.watch("/", bad)
    store.watch("/", heard.extend)
    revision = await store.put("/p/a", b"1")
    assert heard[-1].revision == revision == store.revision


async def test_compaction_forgets_the_past_and_keeps_the_present(store: Store) -> None:
    old = await store.put("/p/a", b"1")
    await store.put("/p/b", b"1")
    await store.delete("/p/b")
    last = await store.put("/p/a", b"2")
    await store.put("/p/c", b"1")
    await store.compact(last)
    with pytest.raises(Compacted):
        await store.range("/p/", revision=old)
    with pytest.raises(Compacted):
        store.watch("/p/", lambda _: None, after_revision=old)
    assert [(i.key, i.value) for i in (await store.range("/p/", revision=last)).items] == [("/p/a", b"2")]
    heard: list[Change] = []
    store.watch("/p/", heard.extend, after_revision=last)
    assert [c.key for c in heard] == ["/p/c"]
    assert len((await store.range("/p/")).items) == 2


async def test_who_loses_can_read_what_won(store: Store) -> None:
    first = await store.put("/n", b"0", expected=0)

    async def write(value: bytes) -> bytes:
        try:
            await store.put("/n", value, expected=first)
        except RevisionMismatch as faster:
            actual, now = faster.actual, store.revision
        else:
            return value
        assert now >= actual > first
        item = await store.get("/n")
        assert item is not None
        return item.value

    assert set(await asyncio.gather(*[write(str(n).encode()) for n in range(5)])) == {b"0"}


async def test_many_writers_of_one_key_count_right(store: Store) -> None:
    await store.put("/n", b"0")

    async def add() -> None:
        while True:
            item = await store.get("/n")
            assert item is not None
            try:
                await store.put("/n", str(int(item.value) + 1).encode(), expected=item.revision)
                return
            except RevisionMismatch:
                await asyncio.sleep(0)

    await asyncio.gather(*[add() for _ in range(20)])
    item = await store.get("/n")
    assert item is not None
    assert item.value == b"20"


_numbers = itertools.count()
steps = st.lists(
    st.tuples(st.sampled_from(["put", "volatile", "delete", "flush", "compact"]), st.sampled_from("abc")), max_size=25
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=steps, restart=st.booleans())
def test_both_stores_tell_the_same_story(tmp_path: Path, script: list[tuple[str, str]], restart: bool) -> None:
    asyncio.run(_same_story(tmp_path / str(next(_numbers)), script, restart))


async def _same_story(path: Path, script: list[tuple[str, str]], restart: bool) -> None:
    path.mkdir()
    sqlite, memory = SqliteStore(path / "state.db"), MemoryStore()
    await sqlite.start()
    stories: list[list[tuple[str, bytes | None]]] = [[], []]
    for store, story in zip((sqlite, memory), stories, strict=True):
        store.watch("/", lambda changes, story=story: story.extend((c.key, c.value) for c in changes))
    waiting = []
    for number, (what, name) in enumerate(script):
        key, value = f"/{name}", str(number).encode()
        if what in ("put", "volatile"):
            waiting.append(asyncio.ensure_future(sqlite.put(key, value, volatile=what == "volatile")))
            await memory.put(key, value)
        elif what == "delete":
            waiting.append(asyncio.ensure_future(sqlite.delete(key)))
            try:
                await memory.delete(key)
            except RevisionMismatch:
                pass
        elif what == "flush":
            await sqlite.flush()
        else:
            await sqlite.compact(sqlite.revision)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    revision = sqlite.revision
    if restart:
        await sqlite.close()
        sqlite = SqliteStore(path / "state.db")
        await sqlite.start()
        assert sqlite.revision >= revision
    both = [[(i.key, i.value) for i in (await store.range("/")).items] for store in (sqlite, memory)]
    await sqlite.close()
    assert both[0] == both[1]
    assert stories[0] == stories[1]


# -- SQLite's own


async def test_a_writer_that_goes_away_does_not_mislead_the_next(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    first = await store.put("/n", b"0")
    gone = asyncio.create_task(store.put("/n", b"1", expected=first))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(RevisionMismatch) as caught:
        await store.put("/n", b"2", expected=first)
    assert store.revision == caught.value.actual > first
    await store.close()


async def test_what_was_acknowledged_outlives_kill_9_and_revisions_never_go_back(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, sys\n"
        "from parkube.controlplane.storage.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1]); await store.start()\n"
        "    for n in range(50): await store.put(f'/k/{n:02}', b'v')\n"
        "    for n in range(500): last = await store.put('/k/00', b'beat', volatile=True)\n"
        "    print(last, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "state.db"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=30, check=False,
    )  # fmt: skip
    last = int(done.stdout)
    store = SqliteStore(path)
    await store.start()
    assert store.revision > last
    items = (await store.range("/k/")).items
    assert len(items) == 50
    assert items[0].value == b"v"  # the heartbeat was not worth a write
    assert await store.put("/k/00", b"beat", expected=items[0].revision, volatile=True) > last
    await store.close()


async def test_volatile_puts_cost_no_write_until_flushed_and_a_clean_stop_loses_none(tmp_path: Path) -> None:
    now = [0.0]
    store = SqliteStore(tmp_path / "state.db", clock=lambda: now[0], history=300, flush_every=600)
    await store.start()
    await store.put("/l/a", b"0")
    size = (tmp_path / "state.db-wal").stat().st_size
    for beat in range(1000):
        await store.put("/l/a", str(beat).encode(), volatile=True)
    assert (tmp_path / "state.db-wal").stat().st_size == size
    for _ in range(12):
        now[0] += 60
        await store.tick()
    assert (tmp_path / "state.db-wal").stat().st_size > size
    await store.put("/l/a", b"last", volatile=True)
    revision = store.revision
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    item = await store.get("/l/a")
    assert item is not None
    assert (item.value, item.revision, store.revision) == (b"last", revision, revision)
    await store.close()


async def test_history_is_kept_for_a_while_and_the_file_does_not_grow(tmp_path: Path) -> None:
    now = [0.0]
    store = SqliteStore(tmp_path / "state.db", clock=lambda: now[0], history=300)
    await store.start()
    first = await store.put("/p/a", b"first")
    for minute in range(1, 12):
        for _ in range(100):
            await store.put("/p/a", b"x" * 1000)
        now[0] = minute * 60.0
        await store.tick()
        if minute == 4:
            assert (await store.range("/p/", revision=first)).items[0].value == b"first"
    with pytest.raises(Compacted):
        await store.range("/p/", revision=first)
    heard: list[Change] = []
    store.watch("/p/", heard.extend, after_revision=store.revision - 100)
    assert len(heard) == 100
    rows = store._reader.changes("/", 0, store.revision)
    assert len(rows) <= 700
    await store.close()


async def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db", max_pages=40)
    await store.start()
    kept = {}

    async def fill() -> None:
        for n in range(100):
            kept[f"/p/{n:03}"] = await store.put(f"/p/{n:03}", b"x" * 4000)

    with pytest.raises(StoreFull):
        await fill()
    results = await asyncio.gather(
        *[store.put(f"/q/{n}", b"x" * 4000, expected=0) for n in range(5)], return_exceptions=True
    )
    assert all(isinstance(result, StoreFull) for result in results)
    assert {i.key: i.revision for i in (await store.range("/")).items} == kept
    some = next(iter(kept))
    assert await store.put(some, b"beat", expected=kept[some], volatile=True) > 0
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    assert len((await store.range("/p/")).items) == len(kept)
    assert await store.put("/q/0", b"now there is room", expected=0) > 0
    await store.close()


async def test_one_server_at_a_time_and_no_other_user(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}
    with pytest.raises(StoreError, match="in use by another server"):
        await SqliteStore(tmp_path / "state.db").start()
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    await store.close()
    with pytest.raises(StoreError, match=r"cannot open .*: No such file or directory"):
        await SqliteStore(tmp_path / "nowhere" / "state.db").start()


ops = st.lists(
    st.tuples(st.sampled_from(["put", "cas", "volatile", "delete", "flush", "fail", "settle"]), st.sampled_from("abc")),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=ops)
def test_commits_that_fail_leave_the_books_right(tmp_path: Path, script: list[tuple[str, str]]) -> None:
    asyncio.run(_failing_commits(tmp_path / str(next(_numbers)), script))


async def _failing_commits(path: Path, script: list[tuple[str, str]]) -> None:
    """What was acknowledged is there, what failed is not, and listeners heard just that."""
    path.mkdir()
    store = SqliteStore(path / "state.db")
    await store.start()
    append, failing = store._file.append, [0]

    def sometimes(rows: Sequence[Row], dropped: Sequence[int] = ()) -> None:
        if failing[0]:
            failing[0] -= 1
            raise StoreFull("no room")
        append(rows, dropped)

    store._file.append = sometimes  # type: ignore[method-assign]
    told: dict[str, bytes] = {}
    revisions: list[int] = []

    def listen(changes: Sequence[Change]) -> None:
        for change in changes:
            revisions.append(change.revision)
            if change.value is None:
                assert change.previous == told.pop(change.key)
            else:
                told[change.key] = change.value

    store.watch("/", listen)
    waiting: list[asyncio.Future[int]] = []
    for number, (what, name) in enumerate(script):
        key, value = f"/{name}", str(number).encode()
        if what == "fail":
            failing[0] += 1
        elif what == "settle":
            await asyncio.gather(*waiting, return_exceptions=True)
        elif what == "flush":
            await store.flush()
        elif what == "delete":
            waiting.append(asyncio.ensure_future(store.delete(key)))
        else:
            expected = store._heads.get(key, 0) if what == "cas" else None
            put = store.put(key, value, expected=expected, volatile=what == "volatile")
            waiting.append(asyncio.ensure_future(put))
        await asyncio.sleep(0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, int | StoreFull | RevisionMismatch) for result in results)
    assert revisions == sorted(result for result in results if isinstance(result, int))
    failing[0] = 0
    assert {item.key: item.value for item in (await store.range("/")).items} == told
    assert store._heads.keys() == told.keys()
    await store.close()
    store = SqliteStore(path / "state.db")
    await store.start()
    assert {item.key: item.value for item in (await store.range("/")).items} == told
    await store.compact(store.revision)
    assert {item.key: item.value for item in (await store.range("/")).items} == told
    assert len(store._reader.changes("/", 0, store.revision)) == len(told)
    await store.close()


async def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"state\.db: file is not a database"):
        await SqliteStore(tmp_path / "state.db").start()
