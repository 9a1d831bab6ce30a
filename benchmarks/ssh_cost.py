"""What SSH costs this machine, a host: trioshell beside asyncssh, parallel-ssh and ClusterShell.

Starts one sshd on loopback (as root; Debian: openssh-server), and lets each of them in turn

* log in to it as to so many hosts, and run ``echo`` on each (cold);
* run a second ``echo`` over the connections that are open by then (reused), where it keeps them;
* receive 200 MB from one command.

Each measurement is a process of its own. What is counted is its processor time, with that of
the processes that it starts, without what it needs to import and start. They take turns, and of
each the best of all rounds counts: what disturbs a machine only ever adds. trioshell is measured
whole, through a Task, with events, gathering and timeouts.

    python benchmarks/ssh_cost.py [--hosts 40] [--fanout 8] [--rounds 5] [--only trioshell,asyncssh]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BULK_BYTES = 200_000_000
BULK = f"head -c {BULK_BYTES} /dev/zero"

CONFIG = """\
Host *
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {directory}/key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
"""

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 1000
MaxSessions 1000
"""


# -- the server ----------------------------------------------------------------------------


@contextmanager
def running_sshd() -> Iterator[Path]:
    """An sshd on loopback, and the directory in which all is that a client needs."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        for key in ("host_key", "key"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key]
            subprocess.run(keygen, check=True)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        words = {"port": port, "directory": directory, "user": "root"}
        (directory / "sshd_config").write_text(SERVER.format(**words))
        (directory / "config").write_text(CONFIG.format(**words))
        (directory / "port").write_text(str(port))
        public = (directory / "host_key.pub").read_text()
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        Path("/run/sshd").mkdir(exist_ok=True)
        command = [sshd, "-D", "-f", directory / "sshd_config"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                wait_until_it_listens(port)
                yield directory
            finally:
                server.send_signal(signal.SIGTERM)


def wait_until_it_listens(port: int) -> None:
    for _ in range(500):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit("sshd does not listen; is this root, and is openssh-server installed?")


# -- the clients -------------------------------------------------------------------------------


class Meter:
    """Processor time of this process and its children, in milliseconds a piece."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    @contextmanager
    def measure(self, what: str, pieces: int) -> Iterator[None]:
        before = self._now()
        yield
        self.figures[what] = (self._now() - before) * 1000 / pieces

    @staticmethod
    def _now() -> float:
        mine, theirs = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def with_trioshell(directory: Path, hosts: int, fanout: int, meter: Meter) -> None:
    import trio

    from trioshell import Task
    from trioshell.transports import SshTransport

    options: dict[str, Any] = {
        "config": directory / "config",
        "known_hosts": directory / "known_hosts",
    }

    async def echo(transport: SshTransport, nodes: str, command: str = "echo hello") -> Any:
        async with Task(transport=transport, fanout=fanout) as task:
            worker = task.shell(command, nodes=nodes, timeout=600, stdin=False)
        assert worker.task.max_retcode() == 0, dict(worker.results())
        return worker

    async def main() -> None:
        async with SshTransport(**options) as transport:
            await echo(transport, "warm")
            with meter.measure("cold", hosts):
                await echo(transport, f"h[1-{hosts}]")
            with meter.measure("reused", hosts):
                await echo(transport, f"h[1-{hosts}]")
            with meter.measure("bulk", 1):
                worker = await echo(transport, "warm", BULK)
            assert len(worker.results()["warm"].stdout) == BULK_BYTES

    trio.run(main)


def with_asyncssh(directory: Path, hosts: int, fanout: int, meter: Meter) -> None:
    import asyncio

    import asyncssh

    port = int((directory / "port").read_text())
    options: dict[str, Any] = {
        "username": "root",
        "known_hosts": str(directory / "known_hosts"),
        "client_keys": [str(directory / "key")],
        "agent_path": None,
        "config": None,
    }

    async def main() -> None:
        turn = asyncio.Semaphore(fanout)

        async def cold() -> Any:
            async with turn:
                connection = await asyncssh.connect("127.0.0.1", port, **options)
                assert (await connection.run("echo hello")).stdout == "hello\n"
                return connection

        async def reused(connection: Any) -> None:
            async with turn:
                assert (await connection.run("echo hello")).stdout == "hello\n"

        warm = await cold()
        with meter.measure("cold", hosts):
            connections = await asyncio.gather(*(cold() for _ in range(hosts)))
        with meter.measure("reused", hosts):
            await asyncio.gather(*map(reused, connections))
        with meter.measure("bulk", 1):
            result = await warm.run(BULK, encoding=None)
        assert len(result.stdout) == BULK_BYTES
        for connection in (warm, *connections):
            connection.close()
            await connection.wait_closed()

    asyncio.run(main())


def with_parallel_ssh(directory: Path, hosts: int, fanout: int, meter: Meter) -> None:
    from pssh.clients import ParallelSSHClient

    port = int((directory / "port").read_text())

    def client(number: int) -> Any:
        return ParallelSSHClient(
            ["127.0.0.1"] * number,
            user="root",
            port=port,
            pkey=str(directory / "key"),
            pool_size=fanout,
            allow_agent=False,
        )

    def echo(client: Any) -> None:
        for output in client.run_command("echo hello"):
            assert list(output.stdout) == ["hello"]

    echo(client(1))
    many = client(hosts)
    with meter.measure("cold", hosts):
        echo(many)
    with meter.measure("reused", hosts):
        echo(many)


def with_libssh2(directory: Path, hosts: int, fanout: int, meter: Meter) -> None:
    """libssh2 driven from Trio, bare: what it could bring at best, were it safe to use.

    It checks the host key and does nothing else of what trioshell does.
    """
    import base64

    import trio
    from ssh2.session import LIBSSH2_SESSION_BLOCK_OUTBOUND, Session

    port = int((directory / "port").read_text())
    private = (directory / "key").read_bytes()
    host_key = base64.b64decode((directory / "host_key.pub").read_text().split()[1])
    eagain = -37

    async def until_done(session: Any, call: Callable[..., Any], *args: Any) -> Any:
        """Make a call again and again, until it does not have to wait."""
        while (result := call(*args)) == eagain or (type(result) is tuple and result[0] == eagain):
            if session.block_directions() & LIBSSH2_SESSION_BLOCK_OUTBOUND:
                await trio.lowlevel.wait_writable(session.sock)
            else:
                await trio.lowlevel.wait_readable(session.sock)
        return result

    async def log_in() -> Any:
        sock = socket.socket()
        sock.setblocking(False)
        await trio.socket.from_stdlib_socket(sock).connect(("127.0.0.1", port))
        session = Session()
        session.set_blocking(False)
        await until_done(session, session.handshake, sock)
        assert session.hostkey()[0] == host_key
        await until_done(session, session.userauth_publickey_frommemory, "root", private)
        return session

    async def run(session: Any, command: str) -> int:
        channel = await until_done(session, session.open_session)
        await until_done(session, channel.execute, command)
        total = 0
        while (size := (await until_done(session, channel.read, 65536))[0]) > 0:
            total += size
        await until_done(session, channel.close)
        assert channel.get_exit_status() == 0
        return total

    async def main() -> None:
        turn = trio.Semaphore(fanout)
        sessions = [await log_in()]

        async def cold() -> None:
            async with turn:
                session = await log_in()
                assert await run(session, "echo hello") == 6
                sessions.append(session)

        async def reused(session: Any) -> None:
            async with turn:
                assert await run(session, "echo hello") == 6

        with meter.measure("cold", hosts):
            async with trio.open_nursery() as nursery:
                for _ in range(hosts):
                    nursery.start_soon(cold)
        with meter.measure("reused", hosts):
            async with trio.open_nursery() as nursery:
                for session in sessions[1:]:
                    nursery.start_soon(reused, session)
        with meter.measure("bulk", 1):
            assert await run(sessions[0], BULK) == BULK_BYTES

    trio.run(main)


def with_clustershell(directory: Path, hosts: int, fanout: int, meter: Meter) -> None:
    from ClusterShell.Task import task_self

    task = task_self()
    task.set_info("fanout", fanout)
    task.set_info("ssh_options", f"-F {directory / 'config'}")

    def echo(nodes: str) -> None:
        task.run("echo hello", nodes=nodes)
        found = {bytes(output): str(nodes) for output, nodes in task.iter_buffers()}
        assert list(found) == [b"hello"], (found, task.max_retcode())

    echo("warm")
    with meter.measure("cold", hosts):
        echo(f"h[1-{hosts}]")


CLIENTS: dict[str, Callable[[Path, int, int, Meter], None]] = {
    "trioshell": with_trioshell,
    "asyncssh": with_asyncssh,
    "parallel-ssh": with_parallel_ssh,
    "libssh2 bare": with_libssh2,
    "ClusterShell": with_clustershell,
}
BUDGETS = {"cold": 1.15, "bulk": 1.15}


def measure(name: str, directory: Path, hosts: int, fanout: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--client", name, "--directory", str(directory)]
    command += ["--hosts", str(hosts), "--fanout", str(fanout)]
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def report(best: dict[str, dict[str, float]]) -> None:
    base = best.get("asyncssh", {})
    print(f"{'ms of processor time':20} {'cold':>16} {'reused':>16} {'200 MB':>16}")
    for name, figures in best.items():
        cells = []
        for what in ("cold", "reused", "bulk"):
            if what not in figures:
                cells.append(f"{'-':>16}")
                continue
            ratio = f" ({figures[what] / base[what]:.2f})" if what in base else ""
            cells.append(f"{figures[what]:.2f}{ratio}".rjust(16))
        print(f"{name:20} {' '.join(cells)}")
    ours = best.get("trioshell")
    if ours and base:
        for what, budget in BUDGETS.items():
            verdict = "kept" if ours[what] <= budget * base[what] else "MISSED"
            print(f"{what}: at most {budget} x asyncssh: {verdict}")
        verdict = "kept" if ours["reused"] <= ours["cold"] / 5 else "MISSED"
        print(f"reused: at most a fifth of cold: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--fanout", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(CLIENTS))
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        meter = Meter()
        CLIENTS[given.client](given.directory, given.hosts, given.fanout, meter)
        print(json.dumps(meter.figures))
        return
    best: dict[str, dict[str, float]] = {}
    with running_sshd() as directory:
        for _ in range(given.rounds):
            for name in given.only.split(","):
                figures = measure(name, directory, given.hosts, given.fanout)
                known = best.setdefault(name, figures)
                best[name] = {what: min(known[what], figures[what]) for what in figures}
    report(best)


if __name__ == "__main__":
    main()
