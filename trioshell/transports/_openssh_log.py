"""What ssh(1) writes into its log, turned into one reason that a person can act on.

ssh says why it failed in sentences for people. These are matched as they have read since
OpenSSH 7.4; what is not recognised is passed on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trioshell.transports._said import quoted

# Said when all is well.
_NOISE: Final = re.compile(
    r"@+|Authenticated to |Transferred: |Bytes per second: |debug\d: |Warning: Permanently added "
    r"|Connection to \S+ closed\.|Shared connection to \S+ closed\.|Killed by signal 15\."
)
# The server, or what stands before it, takes no more connections just now.
_DROPPED: Final = re.compile(
    r"(kex|ssh)_exchange_identification: (read: )?Connection (closed|reset)"
    r"|Exceeded MaxStartups|Not allowed at this time"
    r"|banner exchange: Connection \S+ port \d+: (Connection|Broken)"
)
# What is behind a ProxyCommand has failed, and has said why on stderr.
_BEHIND_PROXY: Final = re.compile(r"UNKNOWN port 65535|UNKNOWN\b")
# ssh writes this one to the command's stderr, as its last words.
CLOSED: Final = re.compile(rb"Connection to [^\r\n]{1,300} closed by remote host\.\r?\n\Z")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why ssh has failed.

    Attributes:
        reason: one sentence.
        dropped: True if the server turned us away before it knew who we are, as sshd does
            beyond its MaxStartups: trying again may help.
    """

    reason: str
    dropped: bool = False


def is_authenticated(log: str) -> bool:
    """True if the login was over, so that a command may have been started."""
    return re.search(r"^Authenticated to ", log, re.MULTILINE) is not None


def find_complaint(
    log: str, stderr: bytes, node: str, known_hosts: Sequence[Path] | None
) -> Complaint | None:
    """What ssh has complained about; None if it has not.

    Args:
        log: the whole of its log.
        stderr: what came last on its stderr; believed where the log has no reason.
        node: the target.
        known_hosts: the files in which ssh was told to look for host keys.
    """
    lines = [line.strip() for line in log.splitlines()]
    lines = [line for line in lines if line and not _NOISE.match(line)]
    said = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    if not lines and CLOSED.search(stderr):
        return Complaint(f"the connection to {node} was closed by the other side")
    about_key = _host_key(lines, node, known_hosts)
    if about_key is not None:
        return Complaint(about_key)
    if lines and not _BEHIND_PROXY.search(lines[-1]):
        return Complaint(_sentence(lines, node), any(_DROPPED.match(line) for line in lines))
    if said and (lines or said[-1].startswith(("command-line", "ssh", "Can't", "Bad"))):
        return Complaint(f"{node} could not be reached: {quoted(said[-1])}")
    return Complaint(f"{node} could not be reached: {quoted(lines[0])}") if lines else None


def _host_key(lines: Sequence[str], node: str, known_hosts: Sequence[Path] | None) -> str | None:
    text = "\n".join(lines)
    files = " or ".join(map(str, known_hosts)) if known_hosts else "the known_hosts files"
    if re.search(r"host key for .* (was|is marked as) revoked", text, re.IGNORECASE):
        return f"the host key of {node} is revoked: it is marked @revoked in {files}"
    if "has changed" in text or "IDENTIFICATION HAS CHANGED" in text:
        place = re.search(r"Offending (?:\S+ )?key in (.+):(\d+)", text)
        where = f"{place[1]} line {place[2]}" if place else files
        return (
            f"the host key of {node} has changed: {where} has another one; "
            "if the new one is right, remove the old one there"
        )
    unknown = re.search(r"No (\S+) host key is known for (\S+)", text)
    if unknown:
        return (
            f"the host key of {node} is not known: there is no {unknown[1]} key for {unknown[2]} "
            f"in {files}; add it, or use host_keys='accept-new'"
        )
    if "Host key verification failed" in text:
        return f"the host key of {node} could not be verified with {files}"
    return None


def _sentence(lines: Sequence[str], node: str) -> str:
    text = "\n".join(lines)
    denied = re.search(r"^(\S+): Permission denied \((.*)\)", text, re.MULTILINE)
    if denied:
        return f"{node} refused the login of {denied[1].partition('@')[0]} (by {quoted(denied[2])})"
    if any(_DROPPED.match(line) for line in lines):
        return f"{node} closed the connection before the login; it may take no more at once"
    if re.search(r"^Timeout, server \S+ not responding", text, re.MULTILINE):
        return f"the connection to {node} is lost: it did not answer the keepalive"
    first = quoted(lines[0].removeprefix("ssh: ").rstrip("."))
    return first if node in first else f"{node}: {first}"
