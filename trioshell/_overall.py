"""What all workers of a Task have gathered, read together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import chain

from trioshell._distant import check_match_keys, group
from trioshell._errors import TaskError
from trioshell._message import Message
from trioshell._worker import SNAME_STDERR, SNAME_STDOUT, Worker


class Overall:
    """Reading over all workers that a Task has been given, in the order of their scheduling.

    A key is a node's name, or the key of a worker that runs here. A key of several workers has
    as many outputs: `iter_buffers` has it in a group for each, `key_buffer` joins them.

    With ``keep_results=False`` all of these raise `TaskError`.
    """

    _keep_results: bool
    _workers: list[Worker]

    def iter_buffers(
        self, match_keys: Iterable[Hashable] | None = None
    ) -> Iterator[tuple[Message, list[Hashable]]]:
        """Each different output on stdout, with the keys that wrote it, in the order of their
        first; those that wrote nothing are in no group.

        Args:
            match_keys: only these keys.
        """
        return self._iter_groups(SNAME_STDOUT, match_keys)

    def iter_errors(
        self, match_keys: Iterable[Hashable] | None = None
    ) -> Iterator[tuple[Message, list[Hashable]]]:
        """The same for stderr, of workers that keep it apart."""
        return self._iter_groups(SNAME_STDERR, match_keys)

    def _iter_groups(
        self, sname: str, match_keys: Iterable[Hashable] | None
    ) -> Iterator[tuple[Message, list[Hashable]]]:
        keys = check_match_keys(match_keys)
        pairs = (worker._books.messages(sname, keys) for worker in self._read())
        return iter(group(chain.from_iterable(pairs)).items())

    def iter_retcodes(
        self, match_keys: Iterable[Hashable] | None = None
    ) -> Iterator[tuple[int, list[Hashable]]]:
        """Each return code, with the keys that ended with it.

        Args:
            match_keys: only these keys.
        """
        keys = check_match_keys(match_keys)
        pairs = (worker._books.rcs(keys) for worker in self._read())
        return iter(group(chain.from_iterable(pairs)).items())

    def key_buffer(self, key: Hashable) -> Message:
        """What the key has written to stdout, over all workers that have it.

        Raises:
            KeyError: no worker has it.
        """
        return self._key_message(key, SNAME_STDOUT)

    node_buffer = key_buffer

    def key_error(self, key: Hashable) -> Message:
        """The same for stderr, of workers that keep it apart."""
        return self._key_message(key, SNAME_STDERR)

    node_error = key_error

    def _key_message(self, key: Hashable, sname: str) -> Message:
        books = [worker._books.find(key) for worker in self._workers_of(key)]
        messages = [book.outputs.message(sname) for book in books if book is not None]
        return messages[0] if len(messages) == 1 else Message(chain.from_iterable(messages))

    def key_retcode(self, key: Hashable) -> int:
        """The key's return code; the largest, if several workers have it.

        Raises:
            KeyError: no worker has it, or it has no return code (yet).
        """
        outcomes = [worker._books.outcome(key) for worker in self._workers_of(key)]
        rcs = [outcome.rc for outcome in outcomes if outcome is not None and outcome.rc is not None]
        if not rcs:
            raise KeyError(key)
        return max(rcs)

    node_retcode = key_retcode

    def max_retcode(self) -> int | None:
        """The largest return code of all; None if there is none."""
        rcs = (rc for worker in self._read() for _, rc in worker._books.rcs(None))
        return max(rcs, default=None)

    def num_timeout(self) -> int:
        """How many commands ran longer than their timeout."""
        return sum(worker._books.timed_out for worker in self._read())

    def iter_keys_timeout(self) -> Iterator[Hashable]:
        """Each key whose command ran longer than its timeout."""
        workers = self._read()
        return chain.from_iterable(worker._books.nodes_timed_out() for worker in workers)

    def flush_buffers(self) -> None:
        """Forget what has been gathered of stdout, of all workers."""
        for worker in self._read():
            worker.flush_buffers()

    def flush_errors(self) -> None:
        """Forget what has been gathered of stderr, of all workers."""
        for worker in self._read():
            worker.flush_errors()

    def _read(self) -> list[Worker]:
        if not self._keep_results:
            raise TaskError(
                "a Task with keep_results=False holds no results; read them from its workers"
            )
        return self._workers

    def _workers_of(self, key: Hashable) -> list[Worker]:
        workers = [worker for worker in self._read() if key in worker._books.targets]
        if not workers:
            raise KeyError(key)
        return workers
