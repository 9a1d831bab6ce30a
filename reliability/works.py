"""The pieces of work that the service does again and again; each checks what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

import trioshell
from reliability.service import Counts, Service
from trioshell import Aborted, Exited, NotStarted, Read, Signaled, TimedOut, Unreachable

TREE = "trap '' TERM; sleep 1000 & sh -c 'sleep 1000; :' & echo on; wait; wait"
FAULTS: tuple[tuple[str, dict[str, int]], ...] = (
    ("NobodyListens", {}),
    ("SaysNothing", {}),
    ("SpeaksGarbage", {}),
    ("HangsInKex", {}),
    ("HangsInAuth", {}),
    ("HangsInChannel", {}),
    ("RefusesKey", {}),
    ("DropsBeforeAuth", {"times": 1}),
    ("DropsInOutput", {"after_bytes": 3000}),
    ("GoesSilent", {"after_bytes": 3000}),
    ("NeverCloses", {}),
    ("UnknownHostKey", {}),
)


def some(service: Service, most: int) -> tuple[str, bytes]:
    """A script, and the output of nobody else that it writes."""
    word, count = f"{service.chance.getrandbits(64):016x}", service.chance.randint(1, most)
    return f"yes {word} | head -n {count}", f"{word}\n".encode() * count


def local_nodes(service: Service, most: int) -> str:
    """Some names for commands that run here."""
    return f"here[1-{service.chance.randint(1, most)}]"


async def short(service: Service) -> None:
    """Many short commands."""
    script, output = some(service, 100)
    counts = Counts()
    worker = service.task.shell(
        service.marked(script), nodes=local_nodes(service, 20), handler=counts
    )
    await service.ended_as(worker, counts, [Exited], output)


async def flood(service: Service) -> None:
    """A few commands that write as fast as they can."""
    script, output = some(service, 100_000)
    worker = service.task.shell(service.marked(script), nodes=local_nodes(service, 3))
    await service.ended_as(worker, None, [Exited], output)


async def slow_handler(service: Service) -> None:
    """A handler that sleeps while a command writes."""

    class Slow(Counts):
        async def ev_read(
            self, worker: trioshell.Worker, node: str, sname: str, msg: bytes
        ) -> None:
            if len(msg) % 7 == 0:
                await trio.sleep(0.001)

    script, output = some(service, 200)
    counts = Slow()
    worker = service.task.shell(service.marked(script), nodes="here1", handler=counts)
    await service.ended_as(worker, counts, [Exited], output)


async def times_out(service: Service) -> None:
    """Trees of processes that ignore SIGTERM run out of time."""
    counts = Counts()
    worker = service.task.shell(
        service.marked(TREE), nodes=local_nodes(service, 3), handler=counts, timeout=0.5
    )
    await service.ended_as(worker, counts, [TimedOut], b"on\n")


async def aborted(service: Service) -> None:
    """Such a tree is aborted as soon as it has said something."""
    worker = service.task.shell(service.marked(TREE), nodes="here1")
    async for event in worker.events():
        if isinstance(event, Read):
            worker.abort()
    await service.ended_as(worker, None, [Aborted], b"on\n")


async def killed(service: Service) -> None:
    """A command is killed by somebody else."""
    worker = service.task.shell(service.marked("kill -KILL $$"), nodes="here1")
    await service.ended_as(worker, None, [Signaled], b"")


async def not_found(service: Service) -> None:
    """A command that there is not."""
    counts = Counts()
    worker = service.task.shell(("/nonexistent/command",), nodes="here[1-3]", handler=counts)
    await service.ended_as(worker, counts, [NotStarted], b"")


async def fed(service: Service) -> None:
    """A command that gives back what it is given."""
    data = service.chance.randbytes(service.chance.randint(1, 300_000))
    worker = service.task.shell(service.marked("cat"), nodes=local_nodes(service, 3))
    worker.write(data)
    worker.set_write_eof()
    await service.ended_as(worker, None, [Exited], data)


async def consumers(service: Service) -> None:
    """Consumers of the events come late, and go early."""
    script, output = some(service, 2000)
    worker = service.task.shell(service.marked(script), nodes=local_nodes(service, 4))
    for wanted in (1, 5):
        seen = 0
        async for _ in worker.events():
            seen += 1
            if seen == wanted:
                break
    await service.ended_as(worker, None, [Exited], output)


async def timers(service: Service) -> None:
    """A timer fires three times, and not once more."""
    fired = 0
    done = trio.Event()

    class Count:
        def ev_timer(self, timer: trioshell._timer.Timer) -> None:
            nonlocal fired
            fired += 1
            if fired == 3:
                timer.invalidate()
                done.set()

    service.task.timer(0.01, Count(), interval=0.02)
    await done.wait()
    await trio.sleep(0.05)
    if fired != 3:
        service.wrong.append(f"a timer fired {fired} times, and not three")


async def fanout(service: Service) -> None:
    """The fanout changes while commands wait for their place."""
    script, output = some(service, 20)
    worker = service.task.shell(service.marked(f"{script}; sleep 0.05"), nodes="here[1-30]")
    for _ in range(3):
        service.task.fanout = service.chance.choice([2, 5, 20, 64])
        await trio.sleep(0.02)
    service.task.fanout = 32
    await service.ended_as(worker, None, [Exited], output)


async def cancelled(service: Service) -> None:
    """Who waits for a command is cancelled, at any moment."""
    workers: list[trioshell.Worker] = []

    class Keep(Counts):
        def ev_start(self, worker: trioshell.Worker) -> None:
            super().ev_start(worker)
            workers.append(worker)

    counts = Keep()
    with trio.move_on_after(service.chance.random() * 0.2):
        await service.task.run(service.marked(TREE), nodes="here[1-2]", handler=counts)
    if workers:  # it may have been cancelled before anything began
        await service.ended_as(workers[0], counts, [Aborted, NotStarted], b"on\n")


async def over_ssh(service: Service) -> None:
    """A command on the healthy nodes; connections are reused, or made anew."""
    script, output = some(service, 2000)
    counts = Counts()
    worker = service.task.shell(
        service.marked(script), nodes=service.healthy, handler=counts, transport=service.ssh
    )
    await service.ended_as(worker, counts, [Exited], output)


async def times_out_over_ssh(service: Service) -> None:
    """A tree of processes on a target, which ignores SIGTERM, runs out of time."""
    worker = service.task.shell(
        service.marked(TREE), nodes=service.healthy[:2], transport=service.ssh, timeout=0.5
    )
    await service.ended_as(worker, None, [TimedOut], b"on\n")


async def over_openssh(service: Service) -> None:
    """A command over the user's ssh."""
    script, output = some(service, 2000)
    worker = service.task.shell(
        service.marked(script), nodes=service.healthy[:1], transport=service.openssh
    )
    await service.ended_as(worker, None, [Exited], output)


async def faulty(service: Service) -> None:
    """A node gets a fault, which a healthy one must not feel."""
    node = service.chance.choice(service.faulty)
    name, arguments = service.chance.choice(FAULTS)
    transport = service.chance.choice([service.ssh, service.ssh, service.openssh])
    service.cluster.fault(node, name, **arguments)
    script, output = some(service, 2000)
    # What may still run on a node that nobody reaches any more is not looked for.
    lame = service.task.shell(script, nodes=node, transport=transport, timeout=10.0)
    fine = service.task.shell(service.marked(script), nodes=service.healthy[0], transport=transport)
    if service.chance.random() < 0.3:
        await trio.sleep(service.chance.random() * 0.2)
        service.cluster.drop(node)
    await service.ended_as(lame, None, [Exited, Unreachable, TimedOut], output)
    await service.ended_as(fine, None, [Exited], output)
    service.cluster.fault(node, "")


async def copies(service: Service) -> None:
    """A file goes there, and comes back."""
    data = service.chance.randbytes(service.chance.randint(0, 500_000))
    name = f"{service.chance.getrandbits(64):016x}"
    source, back = service.directory / name, service.directory / f"{name}.back"
    source.write_bytes(data)
    back.mkdir()
    nodes = service.healthy[:2]
    there = service.task.copy(source, name, nodes, transport=service.ssh)
    await service.ended_as(there, None, [Exited])
    here = service.task.rcopy(name, back, nodes, transport=service.ssh)
    await service.ended_as(here, None, [Exited])
    for node in nodes:
        (service.cluster.roots[node] / name).unlink()
        returned = back / f"{name}.{node}"
        if returned.read_bytes() != data:
            service.wrong.append(f"{node}: a file of {len(data)} bytes came back changed")
        returned.unlink()
    back.rmdir()
    source.unlink()


# How often each is drawn, in relation to the others. What waits long is drawn seldom.
WORKS: dict[Callable[[Service], Awaitable[None]], int] = {
    short: 12,
    flood: 2,
    slow_handler: 3,
    times_out: 2,
    aborted: 3,
    killed: 2,
    not_found: 2,
    fed: 3,
    consumers: 4,
    timers: 4,
    fanout: 2,
    cancelled: 4,
    over_ssh: 6,
    times_out_over_ssh: 2,
    over_openssh: 1,
    faulty: 2,
    copies: 2,
}
