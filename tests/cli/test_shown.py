"""What a reader sees: on a terminal of 80 columns, on a pipe, and on standard error."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import commands, local
from app.data import engines
from app.data.provenance import Provenance
from app.data.tables import Reading
from app.errors import InvalidInput
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from tests.panels import INSIDE, with_effects
from tests.running import ROOT, Running, copy_store, environment, orchard, serving
from tests.terminals import lines_of, on_a_terminal

WEATHER = ("--temperature", "73", "--rainfall", "67", "--humidity", "43")
PANEL = tuple(word for name, value in INSIDE.items() for word in (f"--{name}", str(value)))
HEADER = "region,season,temperature,rainfall,humidity,mango,orange\n"
HARVEST = f"{HEADER}K,2026,73,67,43,56,70\nL,2026,91,88,64,81,100\nM,2026,87,134,58,119,133\n"
EXAMPLE = "version 1 is an example, trained on 15 invented regions: `orchard train YOUR.csv` trains on your own\n"
COLUMNS = 80


@pytest.fixture(scope="module")
def several(panel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with three crops and regions of their own, two versions, and sources with long names."""
    store = copy_store(panel, tmp_path_factory.mktemp("several") / "store")
    job = Job(Settings(model_store=store))
    source = Provenance("harvests of all counties.csv", "anna", "as reported by the counties in autumn")
    job.run(Order(source, with_effects(), alone=True, activate="always"))
    job.close()
    return store


@pytest.mark.parametrize(
    "words",
    [
        ("models",),
        ("observations", "batches"),
        ("predict", *PANEL, "--region", "A", "--explain"),
        (
            "predict",
            "--temperature",
            "24",
            "--rainfall",
            "900",
            "--humidity",
            "0.4",
            "--region",
            "Nowhere",
            "--explain",
        ),
        ("models", "show", "live"),
        ("glossary",),
        ("-h",),
        ("log",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_nothing_is_wider_than_the_terminal(several: Path, words: tuple[str, ...]) -> None:
    """No line is longer than 80 columns, and every word of it is whole, as where there is room enough."""
    narrow = on_a_terminal(several, *words, columns=COLUMNS)
    assert max(map(len, lines_of(narrow))) <= COLUMNS
    parts = re.compile(r"[^\s│┃┏┓┡┩└┘╇┳┴━─╭╮╰╯╀]+")
    wide = set(parts.findall("\n".join(lines_of(on_a_terminal(several, *words, columns=300)))))
    assert set(parts.findall("\n".join(lines_of(narrow)))) <= wide


def test_intervals_are_never_broken(several: Path) -> None:
    """They stand on the line of their crop, with what the region adds in a table below."""
    shown = "\n".join(
        lines_of(on_a_terminal(several, "predict", *PANEL, "--region", "A", "--explain", columns=COLUMNS))
    )
    assert len(re.findall(r"│ (?:mango|orange|pear) +│ +[\d.]+ │ +[\d.]+ to [\d.]+ │", shown)) == 3
    assert re.search(r"┃ baseline ┃ temperature ┃ rainfall ┃ humidity ┃ +region ┃", shown)


def test_all_of_a_version_is_wide(several: Path) -> None:
    """What does not fit is on the same line all the same, for whoever asks for it."""
    assert "as reported by the counties in autumn" not in orchard(several, "models").stdout
    lines = lines_of(on_a_terminal(several, "models", "--wide", columns=COLUMNS))
    (line,) = [line for line in lines if "harvests of all counties.csv" in line]
    assert "descent" in line
    assert "as reported by the counties in autumn" in line


def test_a_report_is_words(tmp_path: Path) -> None:
    """Five or six lines of a pipe, and none of the technical terms; all of them with --details."""
    store = tmp_path / "store"
    shown = orchard(store, "train").stdout
    assert len(shown.splitlines()) <= 7
    terms = re.compile(r"\b(?:epoch|loss|gap|leverage|condition|fold|RMSE|Coefficients|degrees)\b", re.IGNORECASE)
    assert not terms.search(shown)
    assert shown.startswith("mango: weather explains 99.9 % of what separates regions it was not trained on (typical ")
    assert "this is an example, trained on 15 invented regions" in shown
    detailed = orchard(store, "train", "--details").stdout
    assert {word.lower() for word in terms.findall(detailed)} >= {"epoch", "loss", "gap", "leverage", "condition"}
    assert "current, held out" in detailed
    assert f"batch {_batch(store)}" in orchard(store, "retrain", _written(tmp_path, HARVEST)).stdout.replace(
        _batch(store, 0), _batch(store)
    )


def _batch(store: Path, place: int = -1) -> str:
    batches = json.loads(orchard(store, "observations", "batches", "--json").stdout)["batches"]
    return str(batches[place]["batch"])


def _written(folder: Path, text: str) -> str:
    path = folder / "harvest.csv"
    path.write_text(text)
    return str(path)


USELESS = "region,temperature,rainfall,humidity,corn,soybean\n" + "".join(
    f"R{row},{60 + row * 7 % 11},{50 + row * 37 % 101},{70 + row * 3 % 7},"
    f"{200 + 3 * (row * 7 % 11)},{50 + row * 613 % 97}\n"
    for row in range(30)
)


def test_what_is_useless_is_yellow(tmp_path: Path) -> None:
    """A crop of which weather says nothing is accepted, and on a terminal it stands out."""
    text = on_a_terminal(tmp_path / "store", "train", _written(tmp_path, USELESS), columns=300)
    assert re.search(r"\x1b\[33msoybean: weather explains [^;]*; the average would do as well\x1b\[0m", text)
    assert re.search(r"(?<!m)corn: weather explains", text)
    card = Registry(Objects(tmp_path / "store")).read("1").card
    assert card.decision == "accepted"
    assert card.reasons[0] == "there is no current model to compare with; the numbers can be fitted"
    assert card.reasons[-1].startswith("soybean: weather explains ")
    assert card.reasons[-1].endswith("; the average would do as well")


def test_the_example_is_said_to_be_one(trained: Path, several: Path, tmp_path: Path) -> None:
    """On standard error, after a prediction by a version of invented regions; not by another, nor beside JSON."""
    table = _written(tmp_path, "region,temperature,rainfall,humidity\nA,73,67,43\n")
    for words in (WEATHER, (table,)):
        assert orchard(trained, "predict", *words).stderr == EXAMPLE
        assert orchard(trained, "predict", *words, "--json").stderr == ""
        assert orchard(several, "predict", *words).stderr == ""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        done = orchard(tmp_path / "none", "predict", *WEATHER, ORCHARD_URL=str(running.client.base_url))
    assert (done.returncode, done.stderr) == (0, EXAMPLE)


def test_where_there_is_no_model(tmp_path: Path) -> None:
    """The folder that was looked in is named, as an absolute path."""
    missing = f"no model has been trained yet in {tmp_path}/store"
    done = orchard(tmp_path / "store", "models")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{missing}\n")
    assert json.loads(orchard(tmp_path / "store", "models", "--json").stdout)["versions"] == []
    done = orchard(tmp_path / "store", "predict", *WEATHER)
    assert (done.returncode, done.stderr) == (4, f"orchard: {missing}\n")
    assert json.loads(orchard(tmp_path / "store", "predict", *WEATHER, "--json").stderr)["detail"] == missing
    done = subprocess.run(
        [sys.executable, "-m", "app", "predict", *WEATHER],
        cwd=tmp_path,
        env=environment(Path("here"), PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"orchard: no model has been trained yet in {tmp_path}/here\n"


def test_where_it_cannot_be_written() -> None:
    """The folder and the cause are named."""
    done = orchard(Path("/proc/none"), "train")
    assert done.returncode == 4
    assert done.stderr == "orchard: the model store /proc/none cannot be written: No such file or directory\n"


@pytest.mark.parametrize("words", [("-h",), ("train", "-h"), ("models", "show", "-h"), ("observations", "add", "-h")])
def test_help_is_short_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    """`-h` is `--help` on every command."""
    done = orchard(tmp_path, *words)
    assert (done.returncode, done.stdout) == (0, orchard(tmp_path, *words[:-1], "--help").stdout)


def test_which_version_it_is(tmp_path: Path) -> None:
    """Of the program, not of a model."""
    assert re.fullmatch(r"orchard \d+\.\d+\.\d+\n", orchard(tmp_path, "--version").stdout)


def test_terms_are_listed(tmp_path: Path) -> None:
    """A line each, or as JSON."""
    shown = orchard(tmp_path, "glossary").stdout.splitlines()
    terms = json.loads(orchard(tmp_path, "glossary", "--json").stdout)
    assert shown == [f"{term}: {meaning}" for term, meaning in terms.items()]
    assert len(shown) > 15


@pytest.fixture
def service(trained: Path, tmp_path: Path) -> Iterator[Running]:
    """Return a service on the example."""
    with serving(copy_store(trained, tmp_path / "served")) as running:
        yield running


def test_drift_is_asked_of_a_service(service: Running, tmp_path: Path) -> None:
    """It says whether what was asked is like training; alone a store has not been asked."""
    url = str(service.client.base_url)
    weather = ("--temperature", "73", "--rainfall", "67", "--humidity", "43")
    assert "mango" in orchard(tmp_path, "predict", *weather, "--uncounted", "--url", url).stdout
    assert orchard(tmp_path, "drift", "--url", url).stdout == "nobody has asked for a prediction in the last 24 hours\n"
    hot = [100.0 + row % 20 / 16 for row in range(200)]
    place = {"temperature": hot, "rainfall": [67.0] * 200, "humidity": [43.0] * 200}
    service.client.post("/predict", json=place)
    shown = orchard(tmp_path, "drift", "--url", url).stdout
    assert shown.startswith(
        "the weather of the 200 regions asked about in the last 24 hours differs from that of version 1's training:\n"
    )
    assert re.search(r"│ temperature │ +100\.6 ± 0\.36 │ +84\.47 ± 12 │", shown)
    assert json.loads(orchard(tmp_path, "drift", "--url", url, "--json").stdout)["different"]
    done = orchard(tmp_path, "drift")
    assert done.returncode == 2
    assert done.stderr == (
        "orchard: drift is of what a running service has been asked: give --url, or set ORCHARD_URL\n"
    )


def test_access_is_asked_of_a_service(service: Running, tmp_path: Path) -> None:
    """It says what the token may do, or what may be done without one; alone a store asks for none."""
    url, token = service.url, service.token
    shown = orchard(tmp_path, "access", "--url", url, ORCHARD_TOKEN=token)
    assert shown.stdout == (
        "the token reads, also what regions reported, and writes: what it writes is logged as by 'token'\n"
    )
    assert orchard(tmp_path, "access", "--url", url).stdout == (
        "without a token all is read but what regions reported; that, and writing, need ORCHARD_TOKEN\n"
    )
    answer = service.client.get("/access", headers=service.write).json()
    assert json.loads(orchard(tmp_path, "access", "--url", url, "--json", ORCHARD_TOKEN=token).stdout) == answer
    wrong = orchard(tmp_path, "access", "--url", url, ORCHARD_TOKEN=token[::-1])
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the token is wrong" in wrong.stderr
    done = orchard(tmp_path, "access")
    assert done.returncode == 2
    assert done.stderr == (
        "orchard: a running service says what a token may do: give --url, or set ORCHARD_URL; the local model store "
        "asks for none\n"
    )


def _piped(store: Path, text: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env=environment(store, **settings),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
def test_standard_input_is_a_table(service: Running, tmp_path: Path) -> None:
    """To predict, store, retrain and train; through the service and on the store, which says where it is from."""
    regions = "region,temperature,rainfall,humidity\nA,73,67,43\n"
    for store, settings in (
        (tmp_path / "none", service.settings),
        (service.store, {}),
    ):
        season = "2026" if settings else "2027"
        assert (
            _piped(store, regions, "predict", "-", **settings)
            .stdout.splitlines()[1]
            .startswith("A,73.0,67.0,43.0,57.3")
        )
        stored = _piped(store, HARVEST.replace("2026", f"1{season}"), "observations", "add", "-", **settings)
        assert re.fullmatch(r"batch \w+: 3 rows stored\n", stored.stdout), stored.stderr
        rejected = _piped(store, HARVEST.replace("2026", season).replace("81,", "8100,"), "retrain", "-", **settings)
        assert rejected.returncode == 5
        assert "Look at row 2 (line 3), L; correct it, and send the table again." in rejected.stdout
    assert "no such file" in orchard(tmp_path / "none", "retrain", "harvest.csv").stderr
    trained = _piped(
        tmp_path / "new", HARVEST + HARVEST.partition("\n")[2].replace(",2026", ",2025"), "train", "-", "--json"
    )
    assert trained.returncode == 0, trained.stderr
    assert json.loads(orchard(tmp_path / "new", "models", "show", "1", "--json").stdout)["source"] == "standard input"


def test_a_table_is_an_argument_or_an_option(tmp_path: Path) -> None:
    """`train TABLE` is `train --data TABLE`; both are refused, and so is a list of no crops."""
    table = _written(tmp_path, USELESS)
    reports = [json.loads(orchard(tmp_path / name, "train", *words, "--json").stdout) for name, words in (
        ("a", (table,)), ("b", ("--data", table))
    )]  # fmt: skip
    assert reports[0]["fit"] == reports[1]["fit"]
    done = orchard(tmp_path / "c", "train", table, "--data", table)
    assert (done.returncode, done.stderr) == (2, f"orchard: {table} and --data {table}: give one table\n")
    done = orchard(tmp_path / "c", "train", table, "--crops", " ,")
    assert (done.returncode, done.stderr) == (
        2,
        "orchard: --crops ' ,' names no crop: write it as in --crops mango,orange\n",
    )


@pytest.mark.long
def test_a_retrain_of_nothing_new_says_so(service: Running, tmp_path: Path) -> None:
    """One sentence, exit code 0, and no version."""
    done = orchard(tmp_path, "retrain", **service.settings)
    assert (done.returncode, done.stdout) == (
        0,
        "nothing has changed since version 1: no batch was added or withdrawn\n",
    )
    assert service.version() == "1"


def test_crops_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To what reads the table, each once; nothing is where nothing was given."""
    given: list[object] = []

    def refused(_path: Path, reading: Reading) -> None:
        given.append(reading.crops)
        raise InvalidInput("seen")

    assert local.WHO  # what is annotated with it has been imported
    monkeypatch.setattr(engines, "TableFile", refused)
    for crops in ("mango, orange,mango", None):
        with pytest.raises(SystemExit):
            commands.train(table=str(tmp_path / "harvests.csv"), crops=crops)
    assert given == [("mango", "orange"), None]
