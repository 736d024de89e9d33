"""Kills processes of a service that is being written to, again and again: ``python -m tests.kills --kills 100``.

Two workers serve; writers upload small and large batches, retrain and activate, each call under an idempotency key
which is its note too, and repeat what is not answered. At random moments SIGKILL ends everything, the main process
alone, a worker, a training process or a helper. What a kill leaves without its parent must end by itself; where the
main process is gone the service is started anew, on the same port. Then what the service has is compared with what was
sent and with what was answered: nothing is lost, doubled or changed, and no folder of a dead service is left.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.running import DEADLINE_S, ROOT, environment, lasting_port

KINDS = ("everything", "main", "worker", "trainer", "helper")
FAULTS = ("lost", "doubled", "changed", "refused", "orphans", "folders left", "starts failed")
FORETOLD = ("id", "region", "season", "yields", "extrapolated", "warnings")
WEATHER = ("temperature", "rainfall", "humidity")
MARK = "ORCHARDS_TO_KILL"
"""In the environment of every process of a service: which start of which service it belongs to."""
POLL_S = 0.02
LARGE_ROWS = 80
"""With long names, more than the 16 KiB from which on a body goes to the helper."""
REPEATED = 4
"""Calls that were answered before and are repeated after each kill."""
PAGE = 1_000


@dataclass(frozen=True)
class Process:
    """A process: ids are used again, so that its start belongs to it too."""

    id: int
    parent: int
    started: str
    words: str

    @property
    def role(self) -> str:
        """What a service has it for; "" for those that Python itself starts."""
        named = {"app.training": "trainer", "app.api.helper": "helper", "resource_tracker": "", " serve ": "main"}
        return next((role for word, role in named.items() if word in self.words), "worker")

    @classmethod
    def of(cls, number: int) -> "Process | None":
        """Return the process of this id, None if there is none that lives."""
        folder = Path(f"/proc/{number}")
        try:
            state, parent, *more = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            return None
        return cls(number, int(parent), more[17], words) if state not in "ZX" else None

    @property
    def lives(self) -> bool:
        """Whether it is there still."""
        now = Process.of(self.id)
        return now is not None and now.started == self.started

    def kill(self) -> None:
        """End it as if its machine had."""
        with suppress(ProcessLookupError):
            os.kill(self.id, signal.SIGKILL)


def marked(mark: str) -> list[Process]:
    """Return all processes that live and have a mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(Process.of(int(folder.name)))
    return [process for process in found if process is not None]


def below(parents: list[Process], among: list[Process]) -> list[Process]:
    """Return processes and all that descend from them."""
    found = list(parents)
    for parent in found:
        found += [process for process in among if process.parent == parent.id and process not in found]
    return found


class StartFailed(Exception):
    """The service has ended instead of answering."""


class Service:
    """``orchard serve`` with two workers, started as often as needed, on one port, store and folder for what passes."""

    def __init__(self, folder: Path) -> None:
        self.store, self.temporary, self._log = folder / "store", folder / "tmp", folder / "log"
        self.temporary.mkdir()
        self._port = lasting_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._name, self._starts = uuid.uuid4().hex, 0
        self._main: subprocess.Popen[bytes] | None = None

    @property
    def mark(self) -> str:
        """What marks the processes of the latest start."""
        return f"{self._name}-{self._starts}"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._starts += 1
        settings = {"TMPDIR": str(self.temporary), MARK: self.mark, "ORCHARD_WORKERS": "2"}
        with self._log.open("ab") as log:
            self._main = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", "--port", str(self._port)],
                cwd=ROOT,
                env=environment(self.store, **settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + DEADLINE_S
        while not self._serves():
            if self._main.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(self._log.read_text()[-2_000:])
            time.sleep(POLL_S)

    def _serves(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == httpx.codes.OK
        return False

    def processes(self) -> list[Process]:
        """Return those that live."""
        return marked(self.mark)

    def reap(self) -> None:
        """Take note of the main process's end."""
        assert self._main is not None
        self._main.wait(DEADLINE_S)

    def folders(self) -> set[str]:
        """Return the folders that it, or what it was before, keeps among temporary ones."""
        return {path.name for path in self.temporary.glob("orchard-*")}

    @staticmethod
    def kill(living: Callable[[], list[Process]]) -> None:
        """End processes, and those that they have started meanwhile."""
        while found := living():
            for process in found:
                process.kill()
            time.sleep(POLL_S)

    def end(self) -> int:
        """Stop it as one does, and return its exit code."""
        assert self._main is not None
        self._main.terminate()
        return self._main.wait(DEADLINE_S)

    def token(self) -> dict[str, str]:
        """Return the header that writes need."""
        return {"Authorization": f"Bearer {(self.store / 'token').read_text().strip()}"}


@dataclass
class Call:
    """A write, what was sent with it, how often it was made, and its first answer."""

    key: str
    path: str
    body: dict[str, Any]
    times: int = 0
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was reported."""
        found: list[dict[str, Any]] = self.body.get("observations", [])
        return found

    @property
    def regions(self) -> list[dict[str, Any]]:
        """What was forecast."""
        found: list[dict[str, Any]] = self.body.get("regions", [])
        return found


class Writers:
    """Make calls until they are told to stop; each is repeated until it is answered."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service, self._seed = service, seed
        self._numbers: Counter[str] = Counter()
        self.answered: list[Call] = []
        self.refused: list[str] = []
        self.stop = threading.Event()
        self.is_hopeless = False
        """Set where there is no service any more that could answer."""
        self.is_warm = threading.Event()
        """Set once a retrain is answered: the training process is there, and the next one takes no time to start."""

    def kinds(self) -> list[tuple[Callable[[random.Random, str], Call], float]]:
        """Return what writers do, and how long they wait between two calls at most, seconds."""
        return [
            (upload, 0.4),
            (upload, 0.4),
            (upload_many, 0.5),
            (foretell, 0.4),
            (retrain, 0.2),
            (self._activate, 0.3),
        ]

    def write(self, number: int) -> None:
        """Make calls of one kind."""
        make, pause = self.kinds()[number]
        while not self.stop.is_set():
            self._numbers[str(number)] += 1
            key = f"{make.__name__.strip('_')} {number}-{self._numbers[str(number)]}"
            call = make(random.Random(f"{self._seed} {key}"), key)  # noqa: S311 - rows
            if self.carry_out(call):
                self.answered.append(call)
                if make is retrain:
                    self.is_warm.set()
            self.stop.wait(random.uniform(0, pause))  # noqa: S311 - a moment

    def carry_out(self, call: Call) -> bool:
        """Repeat a call until it is answered, and say whether it was; one that is refused is taken down."""
        deadline = time.monotonic() + 3 * DEADLINE_S
        status, text = 0, ""
        while time.monotonic() < deadline and not self.is_hopeless:
            call.times += 1
            with suppress(httpx.TransportError):
                status, text = self.make(call)
                if status in {200, 201}:
                    call.answer = json.loads(text)
                    return True
                if status not in {409, 503} or "key_reused" in text:
                    break
            time.sleep(5 * POLL_S)
        self.refused.append(f"{call.key}: {status} {text}")
        return False

    def make(self, call: Call) -> tuple[int, str]:
        """Make a call once, over a connection of its own."""
        headers = self._service.token() | {"Idempotency-Key": call.key}
        answer = httpx.post(self._service.url + call.path, json=call.body, headers=headers, timeout=DEADLINE_S)
        return answer.status_code, answer.text

    def _activate(self, draw: random.Random, key: str) -> Call:
        made = [call.answer["version"] for call in self.answered if call.path == "/retrain"]
        return Call(key, f"/models/{draw.choice(['1', *made[-3:]])}/activate", {"note": key})


def upload(draw: random.Random, key: str) -> Call:
    """Return a call that stores a few rows."""
    return Call(key, "/observations", {"observations": rows(draw, key, draw.randint(1, 4)), "note": key})


def upload_many(draw: random.Random, key: str) -> Call:
    """Return a call that stores a body which goes to the helper."""
    return Call(key, "/observations", {"observations": rows(draw, f"{key} {'x' * 150}", LARGE_ROWS), "note": key})


def foretell(draw: random.Random, key: str) -> Call:
    """Return a call that stores forecasts: a few, or a body which goes to the helper."""
    name, count = draw.choice([(key, 3), (f"{key} {'x' * 150}", LARGE_ROWS)])
    regions = [{name: row[name] for name in row if name != "yields"} for row in rows(draw, name, count)]
    return Call(key, f"/forecasts?note={quote(key)}", {"regions": regions})


def retrain(draw: random.Random, key: str) -> Call:
    """Return a call that learns a few rows."""
    rule = draw.choice(["always", "if_better"])
    return Call(key, "/retrain", {"observations": rows(draw, key, 3), "activate": rule, "note": key})


def rows(draw: random.Random, name: str, count: int) -> list[dict[str, Any]]:
    """Return honest rows, near the tutorial's line, that no other call sends."""
    found = []
    for number in range(count):
        weather = draw.uniform(60, 100), draw.uniform(50, 130), draw.uniform(40, 70)
        tons = 2.2 - 0.42 * weather[0] + 0.84 * weather[1] + 0.68 * weather[2] + draw.gauss(0, 1)
        named = dict(zip(WEATHER, weather, strict=True))
        found.append({"region": f"{name} {number}", "season": "2026", **named, "yields": {"mango": max(0.0, tons)}})
    return found


class Witness:
    """Compares what the service has with what was sent and answered, and counts what is not so."""

    def __init__(self, service: Service, writers: Writers) -> None:
        self._service, self._writers = service, writers
        self.faults: Counter[str] = Counter()
        self.told: list[str] = []
        self._seen = 0
        self._after: str | None = None
        self._lines: dict[int, dict[str, Any]] = {}
        self._cards: dict[str, dict[str, Any]] = {}

    def answered(self) -> list[Call]:
        """Return the calls that were acknowledged."""
        return self._writers.answered

    def fault(self, kind: str, what: object) -> None:
        """Take down a fault, once."""
        told = f"{kind}: {what}"
        if told not in self.told:
            self.faults[kind] += 1
            self.told.append(told)

    def look(self, draw: random.Random, *, at_all: bool = False) -> None:
        """Look at the calls that were answered since the last time, or at all of them."""
        calls = list(self._writers.answered)
        new, self._seen = calls if at_all else calls[self._seen :], len(calls)
        self._after = None if at_all else self._after
        stored = [call for call in new if call.rows]
        with httpx.Client(base_url=self._service.url, headers=self._service.token(), timeout=DEADLINE_S) as client:
            self._look_at_batches(client, [call for call in calls if call.rows])
            self._look_at_rows(client, stored)
            self._look_at_forecasts(client, [call for call in calls if call.regions])
            self._look_at_versions(client, [call for call in stored if call.path == "/retrain"])
            self._look_at_log(client, calls)
        for refused in self._writers.refused:
            self.fault("refused", refused)
        self._repeat(calls if at_all else draw.sample(calls, min(REPEATED, len(calls))))

    def _look_at_batches(self, client: httpx.Client, calls: list[Call]) -> None:
        """All that was acknowledged is there; whatever was repeated, and however often, it is in use once."""
        batches = {entry["batch"]: entry for entry in pages(client, "/observations/batches", "batches", "before")}
        used: defaultdict[str, list[str]] = defaultdict(list)
        for entry in batches.values():
            if entry["withdrawn"] is None:
                used[entry["note"]].append(entry["batch"])
        for call in calls:
            found = batches.get(call.answer["batch"], {})
            is_kept = call.answer.get("activated") or call.answer.get("decision", "accepted") == "accepted"
            if not found or (found["withdrawn"] is None) != is_kept:
                self.fault("lost", f"{call.key}: batch {call.answer['batch']} is {found}")
            elif found["note"] != call.key or found["rows"] != len(call.rows):
                self.fault("changed", f"{call.key}: {found}")
        for key, ids in used.items():
            if len(ids) > 1:
                self.fault("doubled", f"{key}: {ids}")

    def _look_at_rows(self, client: httpx.Client, calls: list[Call]) -> None:
        found: defaultdict[str, dict[int, Any]] = defaultdict(dict)
        while True:
            after = f"&after={self._after}" if self._after is not None else ""
            page = client.get(f"/observations?limit={PAGE}{after}").json()
            for row in page["observations"]:
                found[row["batch"]][row["row"]] = {name: row[name] for name in row if name in sent(row)}
            if page["next"] is None:
                break
            self._after = page["next"]
        for call in calls:
            stored = found[call.answer["batch"]]
            wanted = dict(enumerate(call.rows))
            if {number: wanted[number] for number in stored if number in wanted} != stored:
                self.fault("changed", f"{call.key}: {stored}")
            elif len(stored) != len(wanted):
                self.fault("lost", f"{call.key}: {len(wanted) - len(stored)} rows")

    def _look_at_forecasts(self, client: httpx.Client, calls: list[Call]) -> None:
        """All that was acknowledged is there once, row for row as it was answered, and nothing half."""
        batches = {entry["batch"]: entry for entry in pages(client, "/forecasts/batches", "batches", "before")}
        for key, times in Counter(entry["note"] for entry in batches.values()).items():
            if times > 1:
                self.fault("doubled", f"{key}: {times} batches of forecasts")
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in pages(client, "/forecasts", "forecasts", "after"):
            found[row["batch"]].append({name: row[name] for name in FORETOLD})
        for batch, entry in batches.items():
            if len(found[batch]) != entry["rows"]:
                self.fault("lost", f"{entry['note']}: {len(found[batch])} of {entry['rows']} forecasts")
        for call in calls:
            if call.answer["batch"] not in batches:
                self.fault("lost", f"{call.key}: forecasts {call.answer['batch']}")
            elif found[call.answer["batch"]] != call.answer["predictions"]:
                self.fault("changed", f"{call.key}: forecasts {call.answer['batch']}")

    def _look_at_versions(self, client: httpx.Client, calls: list[Call]) -> None:
        for call in calls:
            card = client.get(f"/models/{call.answer['version']}").json()
            card.pop("live", None)
            if card.get("note") != call.key or call.answer["batch"] not in card["batches"]:
                self.fault("lost", f"{call.key}: version {call.answer['version']} is {card.get('note')}")
            elif self._cards.setdefault(call.key, card) != card:
                self.fault("changed", f"{call.key}: {card}")

    def _look_at_log(self, client: httpx.Client, calls: list[Call]) -> None:
        """Its lines stay as they are, those that were answered are there, and the last one's version is served."""
        lines = {line["number"]: line for line in pages(client, "/models/log", "log", "before")}
        if sorted(lines) != list(range(1, len(lines) + 1)) or len(lines) < len(self._lines):
            self.fault("lost", f"lines of the log: {sorted(lines)}")
        for number, line in self._lines.items():
            if lines.get(number) != line:
                self.fault("changed", f"line {number}: {lines.get(number)}, which was {line}")
        self._lines = lines
        self._look_for_doubles(lines.values())
        made_live = {line["version"] for line in lines.values()}
        for call in calls:
            if "activate" in call.path and lines.get(call.answer["number"]) != call.answer:
                self.fault("lost", f"{call.key}: {call.answer}")
            if call.answer.get("activated") and call.answer["version"] not in made_live:
                self.fault("lost", f"{call.key}: version {call.answer['version']} was never live")
        self._look_at_live(lines[max(lines)]["version"])

    def _look_for_doubles(self, lines: Iterable[dict[str, Any]]) -> None:
        """A line's reason begins with the key of the call that made it."""
        for why, times in Counter(line["why"].partition(" (")[0] for line in lines).items():
            if times > 1:
                self.fault("doubled", f"{why}: {times} lines of the log")

    def _look_at_live(self, version: str) -> None:
        deadline, found = time.monotonic() + 10, {""}
        while found != {version} and time.monotonic() < deadline:
            time.sleep(POLL_S)
            answers = [httpx.get(f"{self._service.url}/health/ready").json() for _ in range(6)]
            found = {f"{answer.get('model_version')}{''.join(answer.get('details', ['?']))}" for answer in answers}
        if found != {version}:
            self.fault("lost", f"{found} is live, version {version} was activated last")

    def _repeat(self, calls: list[Call]) -> None:
        for call in calls:
            again = Call(call.key, call.path, call.body)
            if self._writers.carry_out(again) and again.answer != call.answer:
                self.fault("changed", f"{call.key}: {again.answer}, which was {call.answer}")

    def look_at_folders(self, before: set[str]) -> None:
        """A start removes what a service before has left behind."""
        deadline = time.monotonic() + 5
        while (left := before & self._service.folders()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for folder in left:
            self.fault("folders left", folder)


def sent(row: dict[str, Any]) -> set[str]:
    """Return the names of what a row reports, of all that is told of it."""
    return set(row) - {"batch", "row", "withdrawn"}


def pages(client: httpx.Client, path: str, name: str, cursor: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of all pages."""
    more: dict[str, Any] = {}
    while True:
        page = client.get(path, params={"limit": PAGE} | more).json()
        yield from page[name]
        if page["next"] is None:
            return
        more = {cursor: page["next"]}


def kill(service: Service, kind: str, draw: random.Random) -> list[Process]:
    """Kill what ``kind`` says, and return it with all that descends from it."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        living = service.processes()
        if victims := [process for process in living if kind in {"everything", process.role}]:
            break
        assert time.monotonic() < deadline, f"there is no {kind} to kill"
        time.sleep(POLL_S)
    if kind != "everything":
        victims = [draw.choice(victims)]
    for process in sorted(victims, key=lambda process: process.role != "main"):
        process.kill()
    return below(victims, living)


def await_end(living: Callable[[], list[Process]], patience_s: float) -> tuple[float, list[Process]]:
    """Wait until there are no such processes; return how long that took, seconds, and those that there are."""
    began = time.monotonic()
    while (left := living()) and time.monotonic() - began < patience_s:
        time.sleep(5 * POLL_S)
    return time.monotonic() - began, left


class Round:
    """One kill while writers write, and what is left after it."""

    def __init__(self, service: Service, writers: Writers, witness: Witness, gone_s: float) -> None:
        self._service, self._writers, self._witness, self._gone_s = service, writers, witness, gone_s
        self.took: defaultdict[str, float] = defaultdict(float)
        """By kind: how long it took at most until all was gone, seconds."""

    def run(self, kind: str, draw: random.Random) -> None:
        """Kill, start what is gone, let the writers end, and look."""
        self._writers.stop.clear()
        self._writers.is_warm.clear()
        with ThreadPoolExecutor(len(self._writers.kinds())) as threads:
            jobs = [threads.submit(self._writers.write, number) for number in range(len(self._writers.kinds()))]
            try:
                if kind == "trainer" or draw.random() < 0.5:
                    self._writers.is_warm.wait(DEADLINE_S)
                time.sleep(draw.uniform(0, 0.8))
                self._end(kind, kill(self._service, kind, draw))
            finally:
                self._writers.stop.set()
            for job in jobs:
                job.result()
        self._witness.look(draw)

    def _end(self, kind: str, doomed: list[Process]) -> None:
        folders = self._service.folders()
        is_over = kind in {"everything", "main"}

        def living() -> list[Process]:
            # An orphan may start others.
            return self._service.processes() if is_over else [process for process in doomed if process.lives]

        if is_over:
            self._service.reap()
        took, orphans = await_end(living, self._gone_s)
        self.took[kind] = max(self.took[kind], took)
        for orphan in orphans:
            self._witness.fault("orphans", f"{kind}: {orphan.role} {orphan.id} {orphan.words[:60]}")
        self._service.kill(living)
        if is_over:
            self._start()
            self._witness.look_at_folders(folders)

    def _start(self) -> None:
        try:
            self._service.start()
        except StartFailed as error:
            self._witness.fault("starts failed", error)
            self._service.kill(self._service.processes)
            self._start_again()

    def _start_again(self) -> None:
        try:
            self._service.start()
        except StartFailed:
            self._writers.is_hopeless = True
            raise


def run(folder: Path, kills: int, seed: int, gone_s: float) -> Witness:
    """Kill so often, each kind as often as the others, and print what came of it."""
    draw = random.Random(seed)  # noqa: S311 - moments and victims
    service = Service(folder)
    writers = Writers(service, seed)
    witness = Witness(service, writers)
    each = Round(service, writers, witness, gone_s)
    kinds = [KINDS[number % len(KINDS)] for number in range(kills)]
    draw.shuffle(kinds)
    service.start()
    try:
        for number, kind in enumerate(kinds, 1):
            each.run(kind, draw)
            print(f"{number} of {kills}: {kind}", file=sys.stderr, flush=True)
        witness.look(draw, at_all=True)
        assert service.end() == 0
        for process in await_end(service.processes, gone_s)[1]:
            witness.fault("orphans", process)
        for name in service.folders():
            witness.fault("folders left", name)
    finally:
        service.kill(service.processes)
    for kind in KINDS:
        print(f"{kind}: {kinds.count(kind)} kills, all gone within {each.took[kind]:.1f} s")
    return witness


def totals(writers: list[Call]) -> str:
    """Say how much was acknowledged."""
    counts = Counter("activations" if "activate" in call.path else call.path.strip("/") for call in writers)
    repeated = sum(call.times > 1 for call in writers)
    rows_ = sum(len(call.rows) for call in writers)
    return (
        f"{counts['observations']} uploads, {counts['retrain']} retrains, {counts['activations']} activations "
        f"acknowledged, {rows_} rows; {repeated} calls repeated until they were answered"
    )


def main() -> int:
    """Kill as asked, and say what has become of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gone", type=float, default=5.0, help="Seconds after which what lives is an orphan.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        witness = run(Path(folder), asked.kills, asked.seed, asked.gone)
    for told in witness.told:
        print(told[:600], file=sys.stderr)
    print(totals(witness.answered()))
    print(f"{asked.kills} kills:", ", ".join(f"{witness.faults[kind]} {kind}" for kind in FAULTS))
    return 1 if witness.told else 0


if __name__ == "__main__":
    sys.exit(main())
