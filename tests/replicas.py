"""Replicas on one store in object storage and one PostgreSQL: ``python -m tests.replicas --retrains 20 --away 60``.

Two services are asked all the time while one of them retrains again and again; each answer is to be one version's
alone, and the other is to follow. Then the store is away for a while, and comes back.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bucket import Standin, standin
from tests.postgresql import cluster, programs
from tests.running import ONE_REGION, Running, orchard, serving, until

TOKEN = "a-token-for-writing"
ASKERS = 2
"""Threads that ask each replica."""
AWAY = "the log could not be looked at since"


@dataclass
class Seen:
    """What was answered: predictions, those that failed, and by version the yields that it named.

    ``behind_s``: how long after a retrain's answer the other replica served its version, seconds. ``told``: whether
    both said so while the store was away.
    """

    predictions: int = 0
    failed: list[str] = field(default_factory=list)
    yields: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    behind_s: list[float] = field(default_factory=list)
    told: bool = False

    @property
    def mixed(self) -> list[str]:
        """The versions under whose name different yields were given."""
        return [version for version, yields in self.yields.items() if len(yields) > 1]


@contextmanager
def _asked(replicas: list[Running], seen: Seen) -> Iterator[None]:
    """Ask the replicas until the end of the block."""
    is_over, lock = threading.Event(), threading.Lock()

    def ask(replica: Running) -> None:
        url = replica.client.base_url
        connection = http.client.HTTPConnection(url.host, url.port, timeout=30)
        while not is_over.is_set():
            try:
                connection.request("POST", "/predict", ONE_REGION, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content, status = answer.read(), answer.status
            except (OSError, http.client.HTTPException) as error:
                content, status = repr(error).encode(), 0
                connection.close()
            with lock:
                seen.predictions += 1
                if status == http.HTTPStatus.OK:
                    said = json.loads(content)
                    seen.yields[said["model_version"]].add(json.dumps(said["yields"]))
                else:
                    seen.failed.append(f"{status}: {content.decode()}")
        connection.close()

    threads = [threading.Thread(target=ask, args=(replica,)) for replica in replicas for _ in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _harvest(number: int) -> bytes:
    rows = [
        {
            "region": f"{name}{number}",
            "temperature": 73 + 7 * place + number / 64,
            "rainfall": 67 + 21 * place,
            "humidity": 43 + 9 * place,
            "yields": {"mango": 56 + 24 * place + number / 8, "orange": 70 + 31 * place},
        }
        for place, name in enumerate("KLM")
    ]
    return json.dumps({"observations": rows, "activate": "always"}).encode()


def _retrain(number: int, writer: Running, other: Running, seen: Seen) -> None:
    answer = writer.client.post("/retrain", content=_harvest(number), headers=writer.write)
    answer.raise_for_status()
    answered, version = time.monotonic(), answer.json()["version"]
    until(lambda: other.version() == version)
    seen.behind_s.append(time.monotonic() - answered)


def _details(replica: Running) -> list[str]:
    found: list[str] = replica.client.get("/health/ready").json()["details"]
    return found


def tried(server: Standin, database: str, folder: Path, retrains: int, away_s: float, interval_s: float) -> Seen:
    """Run two replicas, and return what was seen; ``away_s``: how long the store is away, seconds."""
    settings = {
        "ORCHARD_MODEL_STORE": server.url(),
        "ORCHARD_DATABASE_URL": database,
        "ORCHARD_FOLLOW_INTERVAL_S": str(interval_s),
        "ORCHARD_TOKEN": TOKEN,
        **server.environment,
    }
    seen = Seen()
    with ExitStack() as stack:
        trained = orchard(folder / "x", "train", **settings)
        assert trained.returncode == 0, trained.stderr
        replicas = [stack.enter_context(serving(folder / name, **settings)) for name in ("one", "two")]
        writer, other = replicas
        for replica in replicas:
            until(lambda replica=replica: replica.version() == "1")  # type: ignore[misc]
        with _asked(replicas, seen):
            for number in range(retrains):
                _retrain(number, writer, other, seen)
            if away_s:
                server.is_gone = True
                gone = time.monotonic()
                for replica in replicas:
                    until(lambda replica=replica: any(AWAY in detail for detail in _details(replica)))  # type: ignore[misc]
                seen.told = True
                time.sleep(max(0.0, gone + away_s - time.monotonic()))
                server.is_gone = False
                for replica in replicas:
                    until(lambda replica=replica: not any(AWAY in detail for detail in _details(replica)))  # type: ignore[misc]
                _retrain(retrains, writer, other, seen)
    return seen


def main() -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retrains", type=int, default=20)
    parser.add_argument("--away", type=float, default=60.0, help="how long the store is away, seconds (60)")
    parser.add_argument("--interval", type=float, default=5.0, help="ORCHARD_FOLLOW_INTERVAL_S (5)")
    given = parser.parse_args()
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    with cluster(found) as database, standin() as server, tempfile.TemporaryDirectory() as folder:
        seen = tried(server, database.database(), Path(folder), given.retrains, given.away, given.interval)
    print(f"{seen.predictions} predictions by two replicas while one retrained {len(seen.behind_s)} times")
    print(f"  failed: {len(seen.failed)} {seen.failed[:3]}")
    print(f"  versions whose name stood over other versions' yields: {len(seen.mixed)}")
    print(
        f"  the other replica served a version at most {max(seen.behind_s):.2f} s after the retrain was answered "
        f"(looks every {given.interval:g} s, give or take a fifth)"
    )
    print(f"  the store was away for {given.away:g} s: predictions went on, told by both: {seen.told}")


if __name__ == "__main__":
    main()
