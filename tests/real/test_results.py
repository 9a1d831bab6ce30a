"""Every way to read what came of it: by node, by group, by key; while it runs, and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from ClusterShell.NodeSet import NodeSet

import trioshell
from tests.real.probes import Recorder, only, wait_line, wait_until
from trioshell import (
    DistantWorker,
    ExecWorker,
    Exited,
    FailedNodesError,
    NodeResult,
    NotStarted,
    Signaled,
    Task,
    TaskError,
    TimedOut,
    Worker,
    WorkerError,
)

# Nodes 1, 2 and 5 agree; 3 says nothing; 4 is killed; 6 to 8 say two lines; 9 times out.
SCRIPT = """
case %h in
    n3) exit 3;;
    n4) echo killed; echo why >&2; kill -9 $$;;
    n[6-8]) printf 'one\\ntwo'; echo oops >&2; exit 1;;
    n9) echo late; sleep 61;;
    *) echo same;;
esac
"""


async def mixed(**options: Any) -> tuple[Task, DistantWorker]:
    async with Task(transport="exec", kill_grace=0.1, **options) as task:
        worker = task.shell(SCRIPT, nodes="n[1-9]", timeout=1, stdin=False, stderr=True)
    assert isinstance(worker, DistantWorker)
    return task, worker


def folded(groups: Any) -> list[tuple[bytes, str]]:
    return [(bytes(message), str(nodes)) for message, nodes in groups]


async def test_a_distant_worker_by_group_and_by_node() -> None:
    _, worker = await mixed()
    groups = list(worker.iter_buffers())
    assert all(isinstance(nodes, NodeSet) for _, nodes in groups)
    # In the order of the first node of each, and without those that said nothing.
    assert folded(groups) == [
        (b"same", "n[1-2,5]"),
        (b"killed", "n4"),
        (b"one\ntwo", "n[6-8]"),
        (b"late", "n9"),
    ]
    assert folded(worker.iter_errors()) == [(b"why", "n4"), (b"oops", "n[6-8]")]
    assert [node for node, _ in worker.iter_node_buffers()] == [
        "n1", "n2", "n4", "n5", "n6", "n7", "n8", "n9",
    ]  # fmt: skip
    assert dict(worker.iter_node_buffers())["n7"] == b"one\ntwo"
    assert [(node, bytes(m)) for node, m in worker.iter_node_errors()] == [
        ("n4", b"why"), ("n6", b"oops"), ("n7", b"oops"), ("n8", b"oops"),
    ]  # fmt: skip
    assert worker.node_buffer("n6") == b"one\ntwo"
    assert worker.node_error("n6") == worker.node_error_buffer("n6") == b"oops"
    assert worker.node_buffer("n3") == b""
    assert worker.node_error("n1") == b""
    assert worker.read("n9") == b"late"
    assert worker.read("n4", "stderr") == b"why"
    assert worker.nodes == NodeSet("n[1-9]")
    assert worker.command == SCRIPT


async def test_a_distant_worker_s_return_codes() -> None:
    _, worker = await mixed()
    assert [(rc, str(nodes)) for rc, nodes in worker.iter_retcodes()] == [
        (0, "n[1-2,5]"),
        (3, "n3"),
        (137, "n4"),
        (1, "n[6-8]"),
    ]
    assert dict(worker.iter_node_retcodes()) == {
        "n1": 0, "n2": 0, "n3": 3, "n4": 137, "n5": 0, "n6": 1, "n7": 1, "n8": 1,
    }  # fmt: skip
    assert worker.node_retcode("n4") == worker.node_rc("n4") == 137
    assert list(worker.iter_keys_timeout()) == ["n9"]
    assert worker.num_timeout() == 1
    assert worker.did_timeout()
    for read in (worker.node_retcode, worker.node_rc):
        with pytest.raises(KeyError):
            read("n9")  # it has none
        with pytest.raises(KeyError):
            read("x1")  # not of this worker
    for read_output in (worker.node_buffer, worker.node_error, worker.read):
        with pytest.raises(KeyError):
            read_output("x1")


async def test_match_keys() -> None:
    task, worker = await mixed()
    some = ["n9", "n8", "n2", "x1"]
    assert folded(worker.iter_buffers(some)) == [
        (b"same", "n2"),
        (b"one\ntwo", "n8"),
        (b"late", "n9"),
    ]
    assert folded(worker.iter_errors(match_keys=NodeSet("n[4,6]"))) == [
        (b"why", "n4"),
        (b"oops", "n6"),
    ]
    assert [(rc, str(nodes)) for rc, nodes in worker.iter_retcodes(some)] == [(0, "n2"), (1, "n8")]
    assert list(worker.iter_buffers([])) == []
    assert [keys for _, keys in task.iter_buffers(some)] == [["n2"], ["n8"], ["n9"]]
    assert list(task.iter_retcodes(match_keys={"n3"})) == [(3, ["n3"])]
    assert [keys for _, keys in task.iter_errors(iter(["n4"]))] == [["n4"]]
    readers: list[Callable[[str], object]] = [
        worker.iter_buffers,
        worker.iter_errors,
        worker.iter_retcodes,
        worker.iter_node_buffers,
        worker.iter_node_errors,
        task.iter_buffers,
        task.iter_errors,
        task.iter_retcodes,
    ]
    for read in readers:
        with pytest.raises(TypeError, match=r"match_keys must be .*'n1'"):
            read("n1")


async def test_results_are_a_mapping_in_node_order() -> None:
    _, worker = await mixed(fanout=3)
    results = worker.results()
    assert list(results) == [f"n{i}" for i in range(1, 10)]
    assert len(results) == 9
    assert "n1" in results
    assert "x1" not in results
    with pytest.raises(KeyError):
        results["x1"]
    assert results["n1"].outcome == Exited(0)
    assert results["n1"].ok
    assert results["n4"].outcome == Signaled(9)
    assert results["n4"].rc == 137
    assert results["n6"].stdout == b"one\ntwo"
    assert results["n6"].stderr == b"oops\n"
    assert not results["n6"].ok
    assert results["n9"].outcome == TimedOut(1)
    assert results["n9"].rc is None
    assert results["n9"].stdout == b"late\n"
    for node, result in results.items():
        assert isinstance(result, NodeResult)
        assert result.node == node
        assert not result.truncated
        assert result.started_at is not None
        assert result.ended_at is not None
        assert result.started_at <= result.ended_at <= trio.current_time()


async def test_a_message() -> None:
    worker = await trioshell.run(r"printf 'a\r\n\nb'")
    message = worker.read()
    assert message == b"a\n\nb"
    assert bytes(message) == b"a\n\nb"
    assert list(message) == [b"a", b"", b"b"]
    assert message != b"a"
    assert message == (await trioshell.run(r"printf 'a\n\nb\n'")).read()
    assert len({message, worker.read()}) == 1


async def test_a_local_command_under_its_key_and_without() -> None:
    async with Task(stderr=True) as task:
        keyed = task.shell("echo a; echo e >&2; exit 4", key=("any", "thing"))
        bare = task.shell("echo b")
    assert list(keyed.results()) == [("any", "thing")]
    assert list(bare.results()) == [bare]
    assert keyed.read() == keyed.read(("any", "thing")) == b"a"
    assert keyed.read(sname="stderr") == b"e"
    assert bare.read() == bare.read(bare) == b"b"
    assert task.key_buffer(("any", "thing")) == b"a"
    assert task.key_error(("any", "thing")) == b"e"
    assert task.key_retcode(("any", "thing")) == 4
    assert task.key_buffer(bare) == b"b"
    assert not isinstance(bare, DistantWorker)
    with pytest.raises(KeyError):
        bare.read("other")


async def test_a_task_over_all_its_workers() -> None:
    async with Task(transport="exec", kill_grace=0.1, stderr=True) as task:
        task.shell("echo same; echo err >&2; exit %n", nodes="n[1-3]", stdin=False)
        task.shell("echo same; exit 7", key="local", stdin=False)
        task.shell("echo other", nodes="n[3-4]", stdin=False)
        task.shell("sleep 61", key="slow", timeout=0.1, stdin=False)
    assert [(bytes(message), keys) for message, keys in task.iter_buffers()] == [
        (b"same", ["n1", "n2", "n3", "local"]),
        (b"other", ["n3", "n4"]),
    ]
    assert [(bytes(message), keys) for message, keys in task.iter_errors()] == [
        (b"err", ["n1", "n2", "n3"])
    ]
    assert list(task.iter_retcodes()) == [
        (0, ["n1", "n3", "n4"]),
        (1, ["n2"]),
        (2, ["n3"]),
        (7, ["local"]),
    ]
    assert task.key_buffer("n1") == task.node_buffer("n1") == b"same"
    assert task.key_error("n1") == task.node_error("n1") == b"err"
    assert task.key_retcode("n2") == task.node_retcode("n2") == 1
    assert task.key_retcode("n3") == 2  # the largest
    assert list(task.key_buffer("n3")) == [b"same", b"other"]
    assert task.max_retcode() == 7
    assert task.num_timeout() == 1
    assert list(task.iter_keys_timeout()) == ["slow"]
    for read in (task.key_buffer, task.node_buffer, task.key_error, task.node_error):
        with pytest.raises(KeyError):
            read("x1")
    for key in ("x1", "slow"):
        with pytest.raises(KeyError):
            task.key_retcode(key)
        with pytest.raises(KeyError):
            task.node_retcode(key)


async def test_a_task_without_return_codes_has_no_largest() -> None:
    async with Task() as task:
        assert task.max_retcode() is None
        task.shell(["/no/such/program"])
    assert task.max_retcode() is None


@pytest.mark.parametrize("of_the_task", [True, False])
async def test_flushing_forgets_what_was_gathered_and_nothing_else(of_the_task: bool) -> None:
    async with Task(transport="exec", stderr=True) as task:
        command = "echo o; echo e >&2; read -r x; echo o2; echo e2 >&2; exit 5"
        worker = task.shell(command, nodes="n[1-2]")
        await wait_line(worker, b"e", times=2)
        (task if of_the_task else worker).flush_buffers()
        assert worker.read("n1") == b""
        assert worker.read("n1", "stderr") == b"e"
        (task if of_the_task else worker).flush_errors()
        assert worker.read("n1", "stderr") == b""
        worker.write(b"go\n")
    assert worker.read("n1") == b"o2"
    assert worker.read("n2", "stderr") == b"e2"
    assert worker.results()["n1"].stdout == b"o2\n"
    assert isinstance(worker, DistantWorker)
    worker.flush_buffers()
    worker.flush_errors()
    assert list(worker.iter_buffers()) == list(worker.iter_errors()) == []
    assert worker.node_retcode("n1") == 5


async def test_what_has_come_in_can_be_read_while_it_runs() -> None:
    async with Task(transport="exec", fanout=2) as task:
        command = "[ %h = n1 ] && exit 6; echo ready; printf half; echo x >&2; read -r x"
        worker = task.shell(command, nodes="n[1-3]", stderr=True)
        assert isinstance(worker, DistantWorker)
        await wait_line(worker, b"x", times=2)  # n1 is over, the other two run
        await wait_until(lambda: worker.read("n2") == b"ready\nhalf")
        assert list(worker.results()) == ["n1"]
        assert folded(worker.iter_buffers()) == [(b"ready\nhalf", "n[2-3]")]
        assert worker.node_retcode("n1") == 6
        with pytest.raises(KeyError):
            worker.node_retcode("n2")
        assert [(rc, str(nodes)) for rc, nodes in worker.iter_retcodes()] == [(6, "n1")]
        assert not worker.closed
        assert worker.started
        worker.set_write_eof()
    assert worker.closed


def unscheduled_readers(worker: ExecWorker) -> list[Callable[[], object]]:
    return [
        worker.iter_buffers,
        worker.iter_errors,
        worker.iter_node_buffers,
        worker.iter_node_errors,
        worker.iter_retcodes,
        worker.iter_node_retcodes,
        worker.iter_keys_timeout,
        worker.num_timeout,
        worker.flush_buffers,
        worker.flush_errors,
        worker.results,
        lambda: worker.node_buffer("n1"),
        lambda: worker.node_error("n1"),
        lambda: worker.node_error_buffer("n1"),
        lambda: worker.node_retcode("n1"),
        lambda: worker.node_rc("n1"),
        lambda: worker.read("n1"),
    ]


@pytest.mark.parametrize("index", range(17))
def test_reading_a_worker_that_is_not_scheduled_is_a_worker_error(index: int) -> None:
    worker = ExecWorker("n[1-2]", command="echo x")
    with pytest.raises(WorkerError):
        unscheduled_readers(worker)[index]()


async def test_waiting_for_a_worker_that_is_not_scheduled_is_a_worker_error() -> None:
    with pytest.raises(WorkerError):
        await ExecWorker("n[1-2]", command="echo x").wait()


async def test_deprecated_names() -> None:
    worker = await trioshell.run(
        "echo out; echo err >&2; exit 3",
        "n1",
        transport="exec",
        stderr=True,
        handler=Recorder(),
        stdin=False,
    )
    assert isinstance(worker, DistantWorker)
    for name, value in {
        "last_read": b"out",
        "last_error": b"err",
        "last_node": "n1",
        "last_retcode": 3,
    }.items():
        with pytest.warns(DeprecationWarning, match=f"{name}.*deprecated.*current_") as caught:
            assert getattr(worker, name)() == value
        assert caught[0].filename == __file__
    local = await trioshell.run("echo out", handler=Recorder(), stdin=False)
    with pytest.warns(DeprecationWarning, match="last_read"):
        assert local.last_read() == b"out"
    with pytest.warns(DeprecationWarning, match="last_error"):
        assert local.last_error() is None


async def test_current_attributes_without_any_handler_method_stay_harmless() -> None:
    worker = await trioshell.run("echo out; exit 3", "n1", transport="exec")
    assert worker.current_rc == 3
    assert worker.current_node == "n1"
    assert worker.eh is None
    assert worker.SNAME_STDIN == "stdin"
    assert worker.SNAME_STDOUT == "stdout"
    assert worker.SNAME_STDERR == "stderr"


async def test_keep_results_false_holds_no_results_on_the_task_alone() -> None:
    async with Task(keep_results=False) as task:
        worker = await task.run("echo x; exit 2", key="k")
        readers: list[Callable[[], object]] = [
            task.iter_buffers,
            task.iter_errors,
            task.iter_retcodes,
            task.max_retcode,
            task.num_timeout,
            task.iter_keys_timeout,
            task.flush_buffers,
            task.flush_errors,
            lambda: task.key_buffer("k"),
            lambda: task.node_buffer("k"),
            lambda: task.key_error("k"),
            lambda: task.node_error("k"),
            lambda: task.key_retcode("k"),
            lambda: task.node_retcode("k"),
        ]
        for read in readers:
            with pytest.raises(TaskError, match="keep_results"):
                read()
    assert worker.read() == b"x"
    assert only(worker).outcome == Exited(2)


async def test_run_with_check_says_who_failed_and_why() -> None:
    with pytest.raises(FailedNodesError) as caught:
        await trioshell.run(
            "case %n in 0|2) exit 0;; 4) echo '\\0377bad' >&2; exit 4;; esac;"
            " echo no such disk; exit 1",
            "n[1-5]",
            transport="exec",
            check=True,
        )
    error = caught.value
    assert isinstance(error.worker, DistantWorker)
    assert error.worker.closed
    assert list(error.failed) == ["n2", "n4", "n5"]
    assert error.failed["n5"].outcome == Exited(4)
    text = str(error)
    assert "3 of 5" in text
    assert "n[2,4]: exited with 1" in text
    assert "n5: exited with 4" in text
    assert "no such disk" in text
    assert "\\xffbad" in text
    assert not isinstance(error, BaseExceptionGroup)


async def test_run_with_check_and_all_well_returns_the_worker() -> None:
    worker = await trioshell.run("echo %h", "n[1-3]", transport="exec", check=True)
    assert worker.closed
    assert len(worker.results()) == 3


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("exit 3", {}, "exited with 3"),
        ("kill -9 $$", {}, "signal 9"),
        ("sleep 61", {"timeout": 0.1}, "timed out after 0.1"),
        (["/no/such/program"], {}, "not started.*/no/such/program"),
    ],
)
async def test_run_with_check_of_a_local_command(command: Any, options: Any, said: str) -> None:
    with pytest.raises(FailedNodesError, match=f"(?s)1 of 1.*{said}"):
        await trioshell.run(command, check=True, **options)


async def test_node_sets_in_every_form_and_duplicates() -> None:
    for nodes in ("n1,n[1-2],n2", NodeSet("n[1-2]"), ["n1", "n2", "n1"], iter(["n1", "n2"])):
        worker = await trioshell.run("echo %h", nodes, transport="exec")
        assert [result.stdout for result in worker.results().values()] == [b"n1\n", b"n2\n"]


async def test_the_worker_s_nodes_are_a_copy() -> None:
    given = NodeSet("n[1-2]")
    worker = ExecWorker(given, command="echo %h")
    given.add("n3")
    worker.nodes.add("n4")
    async with Task() as task:
        task.schedule(worker)
    assert list(worker.results()) == ["n1", "n2"]
    assert str(worker.nodes) == "n[1-2]"


async def test_placeholders() -> None:
    worker = await trioshell.run(
        ["echo", "%h", "%host", "%hosts", "%n", "%rank", "100%%", "a %h b"],
        "n[3,1-2]",
        transport="exec",
    )
    assert [bytes(message) for _, message in worker.iter_node_buffers()] == [  # type: ignore[attr-defined]
        f"n{i} n{i} n[1-3] {i - 1} {i - 1} 100% a n{i} b".encode() for i in (1, 2, 3)
    ]


async def test_without_nodes_nothing_is_replaced() -> None:
    worker = await trioshell.run("echo %h 100% %%")
    assert worker.read() == b"%h 100% %%"


async def test_what_a_worker_knows_of_itself() -> None:
    async with Task(command_timeout=7, stderr=True) as task:
        worker = task.shell(["echo", "x"])
        assert repr(worker).endswith("not started>")
        assert worker.task is task
        assert worker.command == ("echo", "x")
        assert not worker.did_timeout()
        assert "echo" in repr(worker)
    assert worker.closed
    assert repr(worker).endswith("closed>")


async def test_not_started_because_nobody_got_round_to_it() -> None:
    async with Task(transport="exec", fanout=1) as task:
        worker = task.shell("echo ready; cat", nodes="n[1-3]")
        await wait_line(worker)
        worker.abort()
    for node in ("n2", "n3"):
        result = worker.results()[node]
        assert isinstance(result.outcome, NotStarted)
        assert (result.rc, result.stdout, result.started_at, result.ended_at) == (
            None,
            b"",
            None,
            None,
        )
    assert isinstance(worker, Worker)


async def test_a_task_s_statistics() -> None:
    async with Task(transport="exec", fanout=2) as task:
        worker = task.shell("echo ready; cat", nodes="n[1-5]")
        await wait_line(worker, times=2)
        timer = task.timer(60, object())
        now = task.statistics()
        assert (now.fanout, now.running, now.open_workers) == (2, 2, 1)
        assert now.valid_timers == 1
        timer.invalidate()
        worker.set_write_eof()
        with pytest.raises(AttributeError):
            now.fanout = 3  # type: ignore[misc]
    after = task.statistics()
    assert (after.running, after.waiting, after.open_workers) == (0, 0, 0)
    assert after.valid_timers == 0
