"""trio-asyncio, imported without what it would change for the rest of the program.

Once it is imported, ``asyncio.run`` and ``asyncio.new_event_loop`` make loops of its own kind
in every thread of the process, also in those that have nothing to do with Trio, where much of
asyncio then does not work. A program that imports it by itself has asked for that. One that
runs a command over SSH has not, so here other threads get asyncio's own loops again.
"""

from __future__ import annotations

import asyncio
import sys


def _import() -> None:
    if "trio_asyncio" in sys.modules:
        return
    policy = asyncio.get_event_loop_policy()
    import trio_asyncio._loop as internals  # type: ignore[import-untyped]  # it ships no types

    # What a thread uses that has set no policy of its own. There is no public way to say this
    # for all threads; if the attribute is called otherwise one day, setting it is harmless.
    internals._FakedPolicy.policy = policy


_import()

import trio_asyncio  # noqa: E402  # only now

current_loop = trio_asyncio.current_loop
open_loop = trio_asyncio.open_loop
