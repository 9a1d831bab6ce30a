"""What is written to a worker: every reader has all of it, and nothing is kept for nobody."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from trioshell._input import Input


@given(
    st.lists(st.sampled_from(["put", "join", "advance", "leave", "seal"]), max_size=60), st.data()
)
def test_readers_get_all_and_nobody_s_pieces_are_forgotten(
    steps: list[str], data: st.DataObject
) -> None:
    source = Input()
    written: list[tuple[str, bytes]] = []
    readers: list[int] = []
    sealed = False

    async def read(position: int) -> None:
        assert await source.get(position) == written[position]

    for step in steps:
        if step == "put":
            written.append(("stdin", b"%d" % len(written)))
            source.put(*written[-1])
        elif step == "join" and not sealed:
            source.join()
            readers.append(0)
        elif step == "seal":
            sealed = True
            source.seal()
        elif readers:
            index = data.draw(st.integers(0, len(readers) - 1))
            position = readers.pop(index)
            if step == "leave":
                source.leave(position)
            elif position < len(written):
                trio.run(read, position)
                source.advance(position)
                readers.append(position + 1)
            else:
                readers.append(position)
    assert source.end == len(written)
    kept = len(source._pieces)
    needed = len(written) - min(readers, default=len(written)) if sealed else len(written)
    assert needed <= kept <= max(2 * needed, 1) or not sealed


async def test_whoever_waits_is_woken_by_data_and_by_the_end() -> None:
    source = Input()
    source.join()
    got: list[object] = []

    async def read() -> None:
        got.append(await source.get(0))
        got.append(await source.get(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        source.put("stdin", b"x")
        await trio.testing.wait_all_tasks_blocked()
        source.close()
    assert got == [("stdin", b"x"), None]
