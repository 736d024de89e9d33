"""The command line: training, its report and its refusals, the versions, and the README's promises."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from app.cli.options import EXIT_CODES
from app.data.provenance import Provenance
from app.data.tables import Table
from app.settings import Settings
from app.store.objects import Objects
from app.store.registry import Registry
from app.training.job import Job
from app.training.order import Order
from tests.running import ROOT, copy_store, environment, orchard, serving
from tests.terminals import on_a_terminal

HEADER = "region,season,temperature,rainfall,humidity,corn,soybean\n"


def _corn(rows: int) -> str:
    lines = [
        f"{19001 + row % 4},{2017 + row},{60 + row * 7 % 11},{500 + row * 37 % 101},{70 + row * 3 % 7},"
        f"{400_000 + row * 977 % 1_000},{'' if row % 3 == 0 else 150_000 + row * 613 % 1_000}"
        for row in range(rows)
    ]
    return HEADER + "\n".join(lines) + "\n"


def _versions(store: Path) -> list[int]:
    return Registry(Objects(store)).versions()


def test_train_reports_what_it_did(tmp_path: Path) -> None:
    """In detail it reports rows, losses, gap, coefficients, scores and the path, after what these come to in words."""
    done = orchard(tmp_path / "store", "train", "--details")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Epoch 1: Loss: ")
    assert "rows                15" in lines
    assert "loss                0.909445984919 tons² (mean squared error over all elements)" in lines
    assert "least-squares loss  0.909445984919 tons²" in lines
    assert re.search(r"temperature │ -0\.421544665 ± 0\.028 │ -0\.247345469 ± 0\.025 │ tons per °F", done.stdout)
    assert lines[-1] == f"version 1 (live): {tmp_path}/store/versions/1.safetensors"


def test_the_script_is_the_command(tmp_path: Path) -> None:
    """scripts/train.py takes the same options and writes the same model; other crops and empty cells are as good."""
    table = tmp_path / "corn.csv"
    table.write_text(_corn(20))
    words = ["train.py", "--data", str(table), "--note", "by script"]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / words[0], *words[1:]],
        cwd=tmp_path,
        env=environment(tmp_path / "store"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "version 1 (live)" in done.stdout
    card = Registry(Objects(tmp_path / "store")).live()[1].card
    assert {crop: part.rows for crop, part in card.crops.items()} == {"corn": 20, "soybean": 13}
    assert (card.source, card.note) == ("corn.csv", "by script")
    assert _versions(tmp_path / "store") == [1]


def test_the_tutorials_recipe_is_followed_aloud(tmp_path: Path) -> None:
    """One line an epoch, predictions beside targets, and a report that says how far from the optimum it is."""
    options = ("--recipe", "tutorial", "--seed", "7", "--activate", "always", "--details")
    done = orchard(tmp_path / "store", "train", *options)
    epochs = [line for line in done.stdout.splitlines() if line.startswith("Epoch ")]
    assert len(epochs) == 50
    assert re.fullmatch(r"Epoch 50/50: Loss: \d+\.\d{4}", epochs[-1])
    assert "Predictions beside targets, tons" in done.stdout
    assert "epochs              50 (NOT converged)" in done.stdout
    assert "the fit did not converge" in done.stdout
    assert "version 1 (live)" in done.stdout


@pytest.mark.parametrize("recipe", ["descent", "tutorial"])
def test_a_seed_reproduces_a_run_to_the_bit(tmp_path: Path, recipe: str) -> None:
    """Two runs with one seed write the same weights."""
    stores = [tmp_path / "a", tmp_path / "b"]
    for store in stores:
        assert orchard(store, "train", "--recipe", recipe, "--seed", "7").returncode == 0
    first, second = (Registry(Objects(store)).read("1") for store in stores)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.intercepts.tobytes() == second.intercepts.tobytes()


def test_a_rate_too_large_is_refused_by_name(tmp_path: Path) -> None:
    """At 1.2e-4 the tutorial's recipe ends in an error that names both rates, exit code 2, and nothing is written."""
    done = orchard(tmp_path / "store", "train", "--recipe", "tutorial", "--learning-rate", "1.2e-4")
    assert done.returncode == 2
    expected = (
        "orchard: descent diverged with learning rate 0.00012: the largest stable one on these rows is 1.1155e-04"
    )
    assert done.stderr.strip() == expected
    assert _versions(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        (_corn(5), "too few rows: corn has 5 rows and is left out"),
        ("region,corn\n" + "A,1\n" * 20, "no column of weather: give at least one of temperature, rainfall, humidity"),
        (_corn(20).replace("soybean", "corn"), "the column 'corn' appears twice"),
        (_corn(20).replace(",400000,", ",many,"), "row 1 (line 2), column corn: 'many' is not a number"),
        (_corn(20).replace(",400000,", ",nan,"), "row 1 (line 2), column corn: nan is not finite"),
        (_corn(20).replace(",400000,", ",-3,"), "row 1 (line 2), column corn: -3 is below 0 tons"),
        (_corn(20).replace("2017,60,", "2017,inf,"), "row 1 (line 2), column temperature: inf is not finite"),
        (_corn(20).replace("2017,60,", "2017,600,"), "row 1 (line 2), column temperature: 600 is above 140 °F"),
        (HEADER.replace(",corn,soybean", "") + "A,1,60,500,70\n", "no crop column"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """A table that cannot be used is refused with the cell, exit code 2, and no version or row is written."""
    table = tmp_path / "table.csv"
    table.write_text(text)
    done = orchard(tmp_path / "store", "train", "--data", str(table))
    assert done.returncode == 2
    assert message in done.stderr
    assert _versions(tmp_path / "store") == []


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    done = orchard(tmp_path / "store", "train", "--data", str(tmp_path / "none.csv"))
    assert (done.returncode, done.stderr.strip()) == (
        2,
        f"orchard: {tmp_path}/none.csv cannot be read: No such file or directory",
    )


def test_bad_settings_are_named(tmp_path: Path) -> None:
    """A setting that is no number is refused by its name."""
    done = orchard(tmp_path / "store", "serve", ORCHARD_PORT="abc")
    assert done.returncode == 2
    assert done.stderr.startswith("orchard: ORCHARD_PORT: ")


def test_versions_are_listed_shown_and_compared(tmp_path: Path) -> None:
    """`models` lists the versions, `show` prints a card, `diff` what changed, and an unknown one is exit code 2.

    ``--wide`` has all that is known of each version.
    """
    store = tmp_path / "store"
    orchard(store, "train")
    orchard(store, "train", "--recipe", "tutorial", "--seed", "1")
    listed = orchard(store, "models").stdout
    assert re.search(
        r"│ 2 +│ rejected │ [-\d]{10} │ 15 +│ mango, orange │ tutorial.csv \(example data: 15 invented regions\) │",
        listed,
    )
    assert re.search(r"│ 1 +│ live +│ ", listed)
    listed = orchard(store, "models", "--wide").stdout
    assert re.search(r"│ 2 +│ +│ .* tutorial │ 15 +│ mango, orange │ .* rejected │", listed)
    assert re.search(r"│ 1 +│ live │ ", listed)
    assert "out-of-fold RMSE" in orchard(store, "models", "show", "1").stdout
    compared = orchard(store, "models", "diff", "1", "2").stdout
    assert re.search(r"mango: rainfall, tons per mm +│ 0\.842337912 +│ ", compared)
    assert "mango: rows" not in compared
    assert orchard(store, "models", "diff", "1", "7").stderr.strip() == "orchard: there is no version 7"


def test_a_retrain_by_a_service_gets_a_bar(trained: Path, tmp_path: Path, harvest: str) -> None:
    """It is drawn from the service's events; with --json it is on standard error, and the report stays readable."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        url, token = running.url, running.token
        text = on_a_terminal(tmp_path / "none", "retrain", harvest, "--url", url, ORCHARD_TOKEN=token)
        assert "━" in text
        assert "fitting, epoch 1, loss" in text
        assert "Epoch 1:" not in text
        assert "mango: weather explains" in text
        assert f"version 2 (live): {url}/models/2" in text
        later = _written(tmp_path, HARVEST.replace("2026", "2027"))
        text = on_a_terminal(tmp_path / "none", "retrain", later, "--url", url, "--json", ORCHARD_TOKEN=token)
        assert "fitting, epoch 1, loss" in text
        assert text.count("weather explains") == 0


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    """On a terminal training draws a progress bar, which counts to no limit; the report is the same."""
    text = on_a_terminal(tmp_path / "store", "train", "--epochs", "60", "--details")
    assert "loading torch" in text
    assert "of 60" not in text
    assert "/?" not in text
    assert "━" in text
    assert "\x1b[" in text
    assert "Epoch 1:" not in text
    assert "Coefficients" in text


def _json(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """Return the answer, or for another exit code than 0 and 5 the problem."""
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout if code in (0, 5) else done.stderr)


@dataclass(frozen=True)
class Shop:
    """Where commands work: on the store alone, or through a service on it, which a client may ask too."""

    store: Path
    settings: dict[str, str]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return orchard(self.store, *words, **self.settings)

    def json(self, *words: str, code: int = 0) -> Any:
        """Run a command with --json, and return what it says."""
        return _json(self(*words, "--json"), code)


@contextmanager
def _shop(place: str, store: Path) -> Iterator[Shop]:
    """Open one place."""
    if place == "local":
        yield Shop(store, {})
        return
    with serving(store) as running:
        # What works through the service needs no store of its own.
        yield Shop(store.parent / "none", running.settings)
    assert not (store.parent / "none").exists()


@pytest.fixture(scope="module", params=["local", "service"])
def asking(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return both places, one after the other, for commands that change nothing."""
    with _shop(request.param, copy_store(trained, tmp_path_factory.mktemp("asking") / "store")) as shop:
        yield shop


@pytest.fixture(params=["local", "service"])
def shop(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[Shop]:
    """Return both places, one after the other, as new for each test."""
    (tmp_path / "shop").mkdir()
    with _shop(request.param, copy_store(trained, tmp_path / "shop" / "store")) as shop:
        yield shop


WEATHER = ("--temperature", "73", "--rainfall", "67", "--humidity", "43")
HARVEST = """region,season,temperature,rainfall,humidity,mango,orange
K,2026,73,67,43,56,70
L,2026,91,88,64,81,100
M,2026,87,134,58,119,133
"""
SPOILT = HARVEST.replace("119,133", "11900,13300").replace("2026", "2027")


@pytest.fixture
def harvest(tmp_path: Path) -> str:
    """Return the path of three honest rows."""
    return _written(tmp_path, HARVEST)


def _written(folder: Path, text: str) -> str:
    path = folder / "harvest.csv"
    path.write_text(text)
    return str(path)


def test_one_region_is_predicted(asking: Shop) -> None:
    """As a table with its warnings, or as the service's JSON; level, version and contributions are passed on."""
    shown = asking("predict", *WEATHER, "--region", "A", "--explain").stdout
    assert re.search(r"mango +│ 57\.32 │ 54\.38 to 60\.27 │\n", shown)
    assert re.search(r"mango +│ +76\.00 │ +\+4\.83 │ +-15\.61 │ +-7\.90 │", shown)
    assert "95% interval" in shown
    cold = asking("predict", "--temperature", "24", *WEATHER[2:]).stdout
    assert "warning: temperature 24 °F is outside the training range" in cold
    answer = asking.json("predict", *WEATHER, "--region", "A", "--level", "0.8", "--version", "1")
    assert (answer["region"], answer["model_version"]) == ("A", "1")
    assert set(answer["yields"]["mango"]) == {"tons", "low", "high"}
    assert answer["yields"]["mango"]["high"] < 60


def test_a_table_is_predicted(asking: Shop, tmp_path: Path) -> None:
    """As CSV, or as JSON."""
    table = _written(tmp_path, "region,temperature,rainfall,humidity\nA,73,67,43\nB,24,67,43\n")
    lines = asking("predict", table).stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["region", "A", "B"]
    assert lines[0].endswith("extrapolated,model_version")
    answer = asking.json("predict", table)
    assert [prediction["extrapolated"] for prediction in answer["predictions"]] == [False, True]
    assert asking.json("predict", table, "--region", "A", code=2)["code"] == "invalid"


def test_a_harvest_is_learned(shop: Shop, harvest: str, tmp_path: Path) -> None:
    """Tried, learned, repeated under its key, refused under it for another one; exit code 5 where it is rejected."""
    dry = shop("retrain", harvest, "--dry-run", "--details").stdout
    assert "Coefficients, live → candidate" in dry
    assert dry.endswith("a dry run: nothing was stored or published\n")
    key = ("--key", "harvest-2026")
    done = shop("retrain", harvest, *key, "--note", "harvest 2026", "--details")
    assert done.returncode == 0, done.stderr
    for part in ("Epoch 1: Loss: ", "rows                18", "Coefficients (±", "Errors (RMSE)", "accepted:"):
        assert part in done.stdout
    version = re.search(r"version (\d+) \(live\): ", done.stdout)
    assert version is not None
    again = shop.json("retrain", harvest, *key, "--note", "harvest 2026")
    assert (again["version"], again["decision"], again["rows"]) == (
        version[1],
        "accepted",
        {"received": 3, "total": 18},
    )
    assert shop.json("retrain", harvest, *key, "--note", "another", code=3)["code"] == "key_reused"
    rejected = shop.json("retrain", _written(tmp_path, SPOILT), code=5)
    assert (rejected["decision"], rejected["activated"]) == ("rejected", False)
    shown = shop("retrain", _written(tmp_path, SPOILT))
    assert shown.returncode == 5
    assert re.search(r"row 3 \(line 4\), M, mango: 11,900 tons; .* predicted; .* standard errors away", shown.stdout)
    batch = shop.json("observations", "batches", "--limit", "1")["batches"][0]["batch"]
    assert shown.stdout.endswith(
        f"Nothing has changed: version {version[1]} is still live. Look at row 3 (line 4), M; correct it, and send the "
        f"table again. (These 3 rows are set aside in batch {batch}.)\n"
    )
    assert "always" not in shown.stdout


def test_versions_are_activated_and_logged(shop: Shop, harvest: str) -> None:
    """A second version, back to the first, and who did it; pages; an unknown version is exit code 2."""
    version = shop.json("retrain", harvest, "--activate", "always")["version"]
    assert f"version {version} (live)" in shop("models", "show", "live").stdout.replace("             ", " ")
    line = shop.json("activate", "1", "--note", "back")
    assert (line["version"], line["why"]) == ("1", "back")
    assert shop("activate", version).stdout == f"version {version} is live (line {line['number'] + 1} of the log)\n"
    page = shop.json("log", "--limit", "2")
    assert [entry["version"] for entry in page["log"]] == [version, "1"]
    assert page["next"] == line["number"]
    shown = shop("log", "--limit", "1").stdout
    assert f"there are more: --before {line['number'] + 1}" in shown
    assert shop.json("models", "--limit", "1")["live"] == version
    assert shop.json("models", "show", "1")["version"] == "1"
    # An option may stand before the command that it is for.
    names = {entry["name"] for entry in _json(shop("models", "--json", "diff", "1", version))}
    assert {"rows", "mango: intercept, tons"} <= names
    problem = shop.json("activate", "99", code=2)
    assert (problem["status"], problem["code"], problem["detail"]) == (404, "not_found", "there is no version 99")
    assert shop("activate", "99").stderr == "orchard: there is no version 99\n"


@pytest.mark.long
def test_observations_are_kept(shop: Shop, harvest: str, tmp_path: Path) -> None:
    """Stored, listed a table a batch, exported as they came, withdrawn."""
    stored = shop.json("observations", "add", harvest, "--note", "by hand", "--key", "add-1")
    assert shop.json("observations", "add", harvest, "--note", "by hand", "--key", "add-1") == stored
    shown = shop("observations", "--limit", "1000").stdout
    assert f"Batch {stored['batch']}\n" in shown
    exported = shop("observations", "--csv").stdout
    assert "K,2026,73.0,67.0,43.0,56.0,70.0\n" in exported
    again = shop.json("retrain", _written(tmp_path, exported), "--dry-run", code=5)
    assert again["rows"]["received"] == exported.count("\n") - 1
    assert "rows are stored already, with the same region, season and numbers" in again["reasons"][0]
    page = shop.json("observations", "--limit", "15")
    assert len(page["observations"]) == 15
    assert "there are more: --after " + page["next"] in shop("observations", "--limit", "15").stdout
    rest = shop.json("observations", "--limit", "10000", "--after", page["next"])
    assert [row["batch"] for row in rest["observations"]][-3:] == [stored["batch"]] * 3
    gone = shop("observations", "withdraw", stored["batch"])
    assert gone.stdout == f"batch {stored['batch']}: 3 rows withdrawn\n"
    assert f"Batch {stored['batch']}, withdrawn" in shop("observations", "--limit", "1000").stdout
    assert shop.json("observations", "withdraw", "none", code=2)["status"] == 404
    assert shop.json("observations", "--csv", code=2)["code"] == "invalid"


ESCAPE = "\x1b]0;owned\x07"
TURNED, C1 = "\u202eabc", "\x9b31m"


@pytest.fixture(scope="module")
def deceitful(tmp_path_factory: pytest.TempPathFactory, tutorial: Table) -> Path:
    """Return a store from before names were looked at: region, season, source, who and note control a terminal."""
    store = tmp_path_factory.mktemp("deceitful") / "store"
    regions = (ESCAPE, TURNED, C1, "a\rb", *tutorial.regions[4:])
    table = replace(tutorial, regions=regions, seasons=(ESCAPE,) * len(tutorial))
    job = Job(Settings(model_store=store))
    job.run(Order(Provenance(f"{ESCAPE}.csv", f"{C1}who", f"{TURNED}\n{ESCAPE}"), table))
    job.close()
    return store


SHOWING = [
    ("observations",),
    ("observations", "--json"),
    ("observations", "--csv"),
    ("log",),
    ("log", "--json"),
    ("models",),
    ("models", "--json"),
    ("models", "show", "1"),
    ("predict", *WEATHER, "--region", ESCAPE),
    ("predict", *WEATHER, "--region", C1, "--json"),
]


def _controls(text: str) -> set[str]:
    """Return the characters of a text that do more than show, but for line ends and the colours of our own."""
    own = re.compile(r"\x1b\[[0-9;]*m|\r?\n")
    return {sign for sign in own.sub("", text) if not sign.isprintable()}


@pytest.mark.parametrize("words", SHOWING, ids=lambda words: " ".join(words[:2]))
def test_names_do_nothing_to_a_terminal(deceitful: Path, words: tuple[str, ...]) -> None:
    """Whatever is stored or asked: no title is set, nothing is turned around, no line is overwritten."""
    assert _controls(on_a_terminal(deceitful, *words)) == set()
    if "--csv" not in words:
        assert _controls(orchard(deceitful, *words).stdout) == set()


def test_an_answer_in_csv_does_nothing_to_a_terminal(deceitful: Path, tmp_path: Path) -> None:
    """On a terminal it only shows; to a pipe it goes as it is, to be sent again."""
    table = _written(tmp_path, f"region,temperature,rainfall,humidity\n{ESCAPE},73,67,43\n")
    assert _controls(on_a_terminal(deceitful, "predict", table)) == set()
    assert ESCAPE in orchard(deceitful, "predict", table).stdout
    exported = orchard(deceitful, "observations", "--csv").stdout
    assert all(name in exported for name in (ESCAPE, TURNED, C1))


def test_json_says_what_is_stored(deceitful: Path) -> None:
    """Escaped, and not changed: what reads it gets the names as they are."""
    page = _json(orchard(deceitful, "observations", "--json"))
    assert [row["region"] for row in page["observations"][:3]] == [ESCAPE, TURNED, C1]
    assert "'\\x1b]0;owned\\x07'" in orchard(deceitful, "observations").stdout


def test_errors_do_nothing_to_a_terminal(deceitful: Path, tmp_path: Path) -> None:
    """What is wrong is told without what it would do, in words and as JSON."""
    twice = f"{ESCAPE}\u202e,{ESCAPE}\u202e"
    table = _written(tmp_path, f"{twice},temperature,rainfall,humidity\n1,2,73,67,43\n")
    for more in ((), ("--json",)):
        done = orchard(deceitful, "predict", table, *more)
        assert done.returncode == 2
        assert _controls(done.stderr) == set()
    done = orchard(deceitful, "activate", "1", "--note", ESCAPE)
    assert (done.returncode, _controls(done.stderr)) == (2, set())
    assert "has U+001B at place 1, a control character" in " ".join(done.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "--region", "A"), "orchard: give --temperature, --rainfall, --humidity, or a table of regions\n"),
        (("predict", *WEATHER[:4]), "orchard: humidity: is missing: mango and orange need it\n"),
        (("predict", "none.csv"), "orchard: none.csv cannot be read: No such file or directory\n"),
        (("retrain", "none.csv"), "orchard: none.csv cannot be read: there is no such file\n"),
        (("observations", "add", "app"), "orchard: app cannot be read: it is a folder\n"),
        (
            ("predict", "--temperature", "300", *WEATHER[2:4], "--humidity", "-1"),
            """orchard: temperature: 300.0 is above 140 °F (and 1 more)
  temperature: 300.0 is above 140 °F
  humidity: -1.0 is below 0 %
""",
        ),
    ],
)
def test_wrong_input_is_exit_code_2(asking: Shop, words: tuple[str, ...], message: str) -> None:
    """Whatever is missing, out of bounds or not there is named, a fault a line."""
    done = asking(*words)
    assert (done.returncode, done.stderr, done.stdout) == (2, message, "")


def test_faults_of_a_table_are_listed(asking: Shop, tmp_path: Path) -> None:
    """Each with its row, line and column, in text and in JSON."""
    table = _written(tmp_path, HARVEST.replace("73,67", "730,-67"))
    done = asking("retrain", table)
    assert done.returncode == 2
    assert "  row 1 (line 2), column temperature: 730 is above 140 °F\n" in done.stderr
    problem = asking.json("retrain", table, code=2)
    assert [fault["loc"] for fault in problem["errors"]] == [[0, "temperature"], [0, "rainfall"]]


@pytest.mark.long
def test_another_training_is_exit_code_3(trained: Path, tmp_path: Path, harvest: str) -> None:
    """While one training holds the store, another one is turned away, here and by the service."""
    store = copy_store(trained, tmp_path / "store")
    with serving(store) as running:
        with filelock.FileLock(store / "retrain.lock"):
            for environ in ({}, running.settings):
                problem = _json(orchard(store, "retrain", harvest, "--json", **environ), 3)
                assert (problem["status"], problem["code"]) == (409, "retrain_running")
        # --url '' is the local store whatever ORCHARD_URL says.
        assert "store/versions" in orchard(store, "retrain", harvest, "--url", "", **running.settings).stdout


def test_what_is_not_available_is_exit_code_4(tmp_path: Path) -> None:
    """No model, no service; a wrong address and a wrong token are exit code 2."""
    assert _json(orchard(tmp_path / "store", "predict", *WEATHER, "--json"), 4)["code"] == "not_ready"
    nowhere = {"ORCHARD_URL": "http://127.0.0.1:1"}
    problem = _json(orchard(tmp_path / "store", "predict", *WEATHER, "--json", **nowhere), 4)
    assert (problem["status"], problem["code"]) == (None, "unreachable")
    assert orchard(tmp_path / "store", "log", "--url", "localhost:8000").returncode == 2


def test_a_wrong_token_is_exit_code_2(trained: Path, tmp_path: Path) -> None:
    """And is not repeated."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        url = str(running.client.base_url)
        wrong = {"ORCHARD_TOKEN": "not-the-one-it-has"}
        done = orchard(tmp_path / "none", "activate", "1", "--url", url, **wrong)
    assert (done.returncode, done.stderr) == (2, "orchard: the token is wrong\n")


def test_train_speaks_json(tmp_path: Path) -> None:
    """The report alone is on standard output; a refusal is a problem on standard error."""
    report = _json(orchard(tmp_path / "store", "train", "--json"))
    assert (report["version"], report["rows"]) == ("1", {"received": 15, "total": 15})
    problem = _json(orchard(tmp_path / "store", "train", "--json", "--data", "none.csv"), 2)
    assert problem["code"] == "malformed"


def test_the_exit_codes_are_in_the_help(tmp_path: Path) -> None:
    """Each with its meaning, and in README.md too."""
    shown = " ".join(orchard(tmp_path, "--help").stdout.split())
    readme = (ROOT / "README.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown
        assert f"| {code} | {meaning} |" in readme


def test_shells_complete_the_commands(tmp_path: Path) -> None:
    """The script is shown for the shell that asks, and what it calls names the commands."""
    shown = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m app --show-completion; true"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete -o default -F _orchard_completion orchard" in shown.stdout
    asked = {"_ORCHARD_COMPLETE": "complete_bash", "COMP_WORDS": "orchard re", "COMP_CWORD": "1"}
    assert orchard(tmp_path, **asked).stdout.split() == ["retrain", "residuals"]


def test_predicting_imports_little(trained: Path) -> None:
    """Neither torch nor the database, nor Arrow, nor what only a service needs."""
    code = (
        "import sys, app.cli.commands\n"
        "sys.argv = ['orchard', 'predict', *sys.argv[1:]]\n"
        "try: app.cli.commands.main()\n"
        "finally: print([name for name in sys.modules if '.' not in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *WEATHER],
        cwd=ROOT,
        env=environment(trained),
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("torch", "sqlalchemy", "pyarrow", "fastapi", "uvicorn", "httpx"):
        assert f"'{name}'" not in done.stdout
    assert "'numpy'" in done.stdout


@pytest.mark.parametrize("words", [["observations"], ["train"]])
def test_a_url_that_is_no_databases(tmp_path: Path, words: list[str]) -> None:
    """A local command says what to write, and ends with exit code 2."""
    done = orchard(tmp_path / "store", *words, ORCHARD_DATABASE_URL="foo")
    assert done.returncode == 2
    assert "this is not the URL of a database: write postgresql+psycopg://" in done.stderr
    assert "Traceback" not in done.stderr
