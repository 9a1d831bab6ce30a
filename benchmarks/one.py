"""One measurement, in a process that does nothing else: prints its figures as JSON."""

from __future__ import annotations

import json
import resource
import sys

from benchmarks.meter import Meter
from benchmarks.works import WORKLOADS


def main() -> None:
    name, who, amount = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    (contender,) = (one for one in WORKLOADS[name].contenders if one.name == who)
    meter = Meter()
    meter.figures.amount = int(amount)
    contender.work(int(amount), meter)
    print(json.dumps(meter.figures.as_json()))


if __name__ == "__main__":
    main()
