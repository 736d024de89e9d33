"""Load from wrk: how many requests a second a server answers, and how long they take."""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from statistics import median

from scripts.bench.servers import Server, pinned

_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
function delay() return {delay} end
"""
_POST_AT_ONCE = _POST.replace("function delay() return {delay} end\n", "")


@dataclass(frozen=True)
class Load:
    """What a server did under load: ``rate`` answers a second; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    failures: int


def require_wrk() -> None:
    """End with a message where wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("benchmark: wrk is not installed: on Debian, apt-get install wrk")


def load(server: Server, cores: str, seconds: int, connections: int = 16, pause_ms: str = "") -> Load:
    """Ask ``server`` for ``seconds`` from ``connections``; with a pause (Lua, ms) between a connection's requests."""
    script = (_POST if pause_ms else _POST_AT_ONCE).format(body=server.kind.body.decode(), delay=pause_ms)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", file.name, server.url]
        output = subprocess.run(pinned(cores, command), capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failures = (int(failed[1]) if failed else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return Load(float(rate[1]) if rate else 0.0, _latency(output, 50), _latency(output, 99), failures)


def middle(loads: list[Load]) -> Load:
    """Return the median of each figure, and all the failures."""
    return Load(
        median(each.rate for each in loads),
        median(each.p50 for each in loads),
        median(each.p99 for each in loads),
        sum(each.failures for each in loads),
    )


def _latency(output: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", output)
    if found is None:
        raise ValueError(f"wrk printed no latencies: {output}")
    return float(found[1]) * _MILLISECONDS[found[2]]
