"""The result of a node as one line of JSON, for programs (``--json``)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from trioshell._results import NodeResult, NotStarted, Signaled, Unreachable


def result_line(result: NodeResult) -> bytes:
    """One JSON object in ASCII, with its newline.

    Keys: ``node``, ``outcome`` (``"exited"``, ``"signaled"``, ``"timed_out"``, ``"aborted"``,
    ``"unreachable"``, ``"not_started"``), ``ok``, ``rc`` (a number or null), ``signal``,
    ``reason``, ``seconds`` (how long it ran), ``stdout``, ``stderr``. A stream that is not
    UTF-8 is in ``stdout_base64`` byte for byte, and in ``stdout`` as well as it can be read.
    Output that was cut short has ``truncated`` and ``missing_bytes``.
    """
    outcome = result.outcome
    made: dict[str, Any] = {
        "node": str(result.node),
        "outcome": _snake(type(outcome).__name__),
        "ok": result.ok,
        "rc": result.rc,
    }
    if isinstance(outcome, Signaled):
        made["signal"] = outcome.signum
    if isinstance(outcome, Unreachable | NotStarted):
        made["reason"] = outcome.reason
    if result.started_at is not None and result.ended_at is not None:
        made["seconds"] = round(result.ended_at - result.started_at, 6)
    if result.truncated:
        made |= {"truncated": True, "missing_bytes": result.missing_bytes}
    for name, data in (("stdout", result.stdout), ("stderr", result.stderr)):
        try:
            made[name] = data.decode()
        except UnicodeDecodeError:
            made[name] = data.decode(errors="replace")
            made[f"{name}_base64"] = base64.b64encode(data).decode()
    # JSON lets this one control character stand as it is; escaped it says the same.
    return json.dumps(made).replace("\x7f", "\\u007f").encode() + b"\n"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
