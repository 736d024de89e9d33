"""Weather in °C, kelvin and inches on the command line, named crops and workbooks: locally and by a service."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.running import copy_store, orchard, serving
from tests.workbooks import workbook_of

HEADER = ["region", "temperature", "rainfall", "humidity"]
REGIONS: list[list[str | float]] = [["A", 23, 2.5, 43], ["B", 50, 3.5, 64], ["C", 30, 5, 58]]
IN_FAHRENHEIT: list[list[str | float]] = [["A", 73.4, 63.5, 43], ["B", 122, 88.9, 64], ["C", 86, 127, 58]]
HARVEST: list[list[str | float]] = [
    ["region", "season", "year", "temperature", "rainfall", "humidity", "mango"],
    ["K", "2031", 2031, 23, 2.5, 43, 57.5],
    ["L", "2031", 2031, 33, 3.5, 64, 82],
    ["M", "2031", 2031, 30, 5, 58, 119],
]
STORED = np.array([[73.4, 63.5, 43], [91.4, 88.9, 64], [86, 127, 58]])
"""The weather of the harvest, °F and mm."""
GIVEN = ("--celsius", "--inches")


class Asking(NamedTuple):
    """Somewhere to ask: ``words`` lead there."""

    store: Path
    words: list[str]
    settings: dict[str, str]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return orchard(self.store, *words, *self.words, **self.settings)

    def json(self, *words: str) -> Any:
        """Return what a command prints as JSON."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(params=["local", "service"])
def asking(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[Asking]:
    """Ask a store of its own, or a service on one."""
    store = copy_store(trained, tmp_path / "store")
    if request.param == "local":
        yield Asking(store, [], {})
        return
    with serving(store) as running:
        yield Asking(tmp_path / "nothing", ["--url", running.url], {"ORCHARD_TOKEN": running.token})


def _csv(rows: Sequence[Sequence[object]], header: Sequence[object] = HEADER) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in [header, *rows]).encode()


def _file(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def _numbers(table: str, names: list[str]) -> list[list[float]]:
    return [[float(row[name]) for name in names] for row in csv.DictReader(io.StringIO(table))]


ENDS = ["mango_tons", "mango_low", "orange_high"]


def test_one_region_in_other_units(asking: Asking) -> None:
    """Its tons are those of the converted weather; warnings are in the units that it was asked in."""
    plain = asking.json("predict", "--temperature", "73.4", "--rainfall", "63.5", "--humidity", "43")
    celsius = asking.json("predict", "--temperature", "23", "--rainfall", "2.5", "--humidity", "43", *GIVEN)
    assert celsius["yields"]["mango"]["tons"] == pytest.approx(plain["yields"]["mango"]["tons"], rel=1e-12)
    assert celsius["units"] == {"temperature": "celsius", "rainfall": "inch"}
    assert "units" not in plain
    told = asking("predict", "--temperature", "320", "--rainfall", "67", "--humidity", "43", "--kelvin").stdout
    assert "warning: temperature 320 K is outside the training range, 293.15 to 312.594 K" in told
    assert "if it is" not in told
    wrong = asking("predict", "--temperature", "75", "--rainfall", "67", "--humidity", "43", "--celsius")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "temperature: 75 is above 60 °C" in wrong.stderr


def test_tables_in_other_units(asking: Asking, tmp_path: Path) -> None:
    """CSV and workbooks, by options or by the header; the answer is CSV with the numbers that were sent."""
    stored = asking("predict", _file(tmp_path, "f.csv", _csv(IN_FAHRENHEIT)))
    expected = _numbers(stored.stdout, ENDS)
    assert "1 of 3 regions is outside what training has seen" in stored.stderr.splitlines()
    header = ["region", "temperature (°C)", "rainfall (in)", "humidity"]
    for name, content, options in (
        ("c.csv", _csv(REGIONS), GIVEN),
        ("c.xlsx", workbook_of([HEADER, *REGIONS]), GIVEN),
        ("named.csv", _csv(REGIONS, header), ()),
        ("named.xlsx", workbook_of([header, *REGIONS]), ()),
    ):
        path = _file(tmp_path, name, content)
        done = asking("predict", path, *options)
        assert done.returncode == 0, done.stderr
        np.testing.assert_allclose(_numbers(done.stdout, ENDS), expected, rtol=1e-12)
        sent = header if name.startswith("named") else HEADER
        assert _numbers(done.stdout, sent[1:]) == [row[1:] for row in REGIONS]
        assert "1 of 3 regions is outside what training has seen" in done.stderr.splitlines()
        answer = asking.json("predict", path, *options)
        assert answer["units"] == {"temperature": "celsius", "rainfall": "inch"}
        tons = [row["yields"]["mango"]["tons"] for row in answer["predictions"]]
        np.testing.assert_allclose(tons, [row[0] for row in expected], rtol=1e-12)
        assert answer["predictions"][1]["warnings"] == [
            "temperature 50 °C is outside the training range, 20 to 39.4444 °C"
        ]


def test_nothing_is_told_where_all_is_known(asking: Asking, tmp_path: Path) -> None:
    """Nobody reads of regions that are outside where none is; two are, in a table with semicolons."""
    inside = asking("predict", _file(tmp_path, "in.csv", _csv([IN_FAHRENHEIT[0], IN_FAHRENHEIT[2]])))
    assert inside.returncode == 0
    assert "outside" not in inside.stderr
    german = "temperature;rainfall;humidity\n122,5;67;43\n123;67;43\n73,5;67;43\n"
    outside = asking("predict", _file(tmp_path, "german.csv", german.encode()))
    assert outside.stdout.startswith("temperature;rainfall;humidity;mango_tons;")
    assert "2 of 3 regions are outside what training has seen" in outside.stderr.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "--temperature", "23", "--rainfall", "67", "--humidity", "43"),
        ("predict", "{table}"),
        ("retrain", "{table}"),
        ("observations", "add", "{table}"),
    ],
)
def test_two_units_at_once(asking: Asking, tmp_path: Path, words: tuple[str, ...]) -> None:
    """They are refused in words, whatever the command."""
    table = _file(tmp_path, "c.csv", _csv(REGIONS))
    done = asking(*(word.format(table=table) for word in words), "--celsius", "--kelvin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "orchard: --celsius and --kelvin: temperatures are in one of them, give the one that they are in\n"
    )


def _rows(asking: Asking, batch: str) -> list[dict[str, Any]]:
    page = asking.json("observations", "--limit", "10000")["observations"]
    return [row for row in page if row["batch"] == batch]


@pytest.mark.long
@pytest.mark.parametrize("name", ["harvest.csv", "harvest.xlsx"])
def test_harvests_in_other_units(asking: Asking, tmp_path: Path, name: str) -> None:
    """They are stored in °F and mm; of columns that are no crops, those that are are named."""
    content = workbook_of(HARVEST) if name.endswith("xlsx") else _csv(HARVEST[1:], HARVEST[0])
    path = _file(tmp_path, name, content)
    refused = asking("observations", "add", path, *GIVEN)
    assert refused.returncode == 2
    assert "the column 'year' does not look like a crop's" in refused.stderr
    batches = [
        asking.json("observations", "add", path, "--crops", "mango", *GIVEN)["batch"],
        asking.json("retrain", path, "--crops", "mango", "--activate", "always", *GIVEN)["batch"],
    ]
    for batch in batches:
        found = _rows(asking, batch)
        weather = [[row[feature] for feature in HEADER[1:]] for row in found]
        np.testing.assert_allclose(weather, STORED, rtol=1e-12)
        assert [row["yields"] for row in found] == [{"mango": 57.5}, {"mango": 82}, {"mango": 119}]


def test_a_key_is_of_one_reading(asking: Asking, tmp_path: Path) -> None:
    """The same table under the same key, in other units, is another request."""
    path = _file(
        tmp_path, "harvest.csv", _csv([row[:2] + row[3:] for row in HARVEST[1:]], HARVEST[0][:2] + HARVEST[0][3:])
    )
    first = asking.json("observations", "add", path, "--key", "k", *GIVEN)
    assert asking.json("observations", "add", path, "--key", "k", *GIVEN) == first
    assert asking("observations", "add", path, "--key", "k", "--celsius").returncode == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("retrain", "--celsius"), "--celsius: goes with a table, and none is given"),
        (("retrain", "--kelvin", "--inches"), "--kelvin and --inches: goes with a table, and none is given"),
        (("retrain", "--crops", "mango"), "--crops: goes with a table, whose columns it names, and none is given"),
    ],
)
def test_what_is_said_of_no_table(asking: Asking, words: tuple[str, ...], message: str) -> None:
    """It is refused, not passed over."""
    done = asking(*words)
    assert (done.returncode, done.stderr) == (2, f"orchard: {message}\n")


def _first_harvest(rows: int = 40) -> list[list[str | float]]:
    """Return rows of a table in °C."""
    draw = np.random.default_rng(3)
    weather = np.column_stack([draw.uniform(14, 28, rows), draw.uniform(300, 900, rows), draw.uniform(40, 75, rows)])
    tons = (weather @ [1.5, 0.05, 0.3] + draw.normal(0, 1, rows)).tolist()
    return [[f"R{row}", *values, tons[row]] for row, values in enumerate(weather.round(2).tolist())]


def test_a_first_training_in_celsius(tmp_path: Path) -> None:
    """Without a word it does not become live unnoticed; with one it is right, and so are its stored rows."""
    path = _file(tmp_path, "first.csv", _csv(_first_harvest(), [*HEADER, "corn"]))
    unsaid = orchard(tmp_path / "unsaid", "train", path)
    told = " ".join(unsaid.stdout.split())
    assert "temperature: 40 of 40 rows lie below the 32 °F that a season has at least" in told
    assert "above it if they are in °C" in told
    assert "version 1 (not live)" in told
    named = orchard(tmp_path / "named", "train", path, "--celsius")
    assert named.returncode == 0
    assert "in °C" not in named.stdout + named.stderr
    page = json.loads(orchard(tmp_path / "named", "observations", "--json").stdout)["observations"]
    low, high = 14 * 1.8 + 32, 28 * 1.8 + 32
    assert all(low <= row["temperature"] <= high for row in page)
    without = orchard(tmp_path / "named", "train", "--celsius")
    assert (without.returncode, without.stderr) == (2, "orchard: --celsius: goes with a table, and none is given\n")
    both = orchard(tmp_path / "named", "train", path, "--celsius", "--kelvin")
    assert both.returncode == 2
    assert "temperatures are in one of them" in both.stderr


def test_a_workbook_is_trained_on(tmp_path: Path) -> None:
    """In kelvin and inches, of named crops."""
    rows = [[*row[:1], float(row[1]) + 273.15, float(row[2]) / 25.4, *row[3:], 2031] for row in _first_harvest()]
    path = _file(tmp_path, "first.xlsx", workbook_of([[*HEADER, "corn", "year"], *rows]))
    done = orchard(tmp_path / "store", "train", path, "--kelvin", "--inches", "--crops", "corn", "--json")
    assert done.returncode == 0, done.stderr
    celsius = _file(tmp_path, "first.csv", _csv(_first_harvest(), [*HEADER, "corn"]))
    assert orchard(tmp_path / "other", "train", celsius, "--celsius").returncode == 0
    cards = [
        json.loads(orchard(tmp_path / store, "models", "show", "1", "--json").stdout) for store in ("store", "other")
    ]
    slopes = [card["crops"]["corn"]["weights"] for card in cards]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-9)
