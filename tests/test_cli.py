"""The command line: training, its report and its refusals, the versions, and the README's promises."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.store.objects import Objects
from app.store.registry import Registry
from tests.running import ROOT, environment, orchard, serving

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
    """By default it fits the tutorial's rows, and reports rows, losses, gap, coefficients, scores and the path."""
    done = orchard(tmp_path / "store", "train")
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
    done = orchard(tmp_path / "store", "train", "--recipe", "tutorial", "--seed", "7", "--activate", "always")
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
        (_corn(20).replace("humidity", "damp"), "the column 'humidity' is missing"),
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
    """`models` lists the versions, `show` prints a card, `diff` what changed, and an unknown one is exit code 2."""
    store = tmp_path / "store"
    orchard(store, "train")
    orchard(store, "train", "--recipe", "tutorial", "--seed", "1")
    listed = orchard(store, "models").stdout
    assert re.search(r"│ 2 +│ +│ .* tutorial │ 15 +│ mango, orange │ .* rejected │", listed)
    assert re.search(r"│ 1 +│ live │ ", listed)
    assert "out-of-fold RMSE" in orchard(store, "models", "show", "1").stdout
    compared = orchard(store, "models", "diff", "1", "2").stdout
    assert re.search(r"mango: rainfall, tons per mm +│ 0\.842337912 +│ ", compared)
    assert "mango: rows" not in compared
    assert orchard(store, "models", "diff", "1", "7").stderr.strip() == "orchard: there is no version 7"


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    """On a terminal training draws a progress bar; the report is the same."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "train", "--epochs", "60"],
        cwd=ROOT,
        env=environment(tmp_path / "store", TERM="xterm-256color", COLUMNS="120"),
        stdout=slave,
        stderr=slave,
        close_fds=True,
    )
    os.close(slave)
    output = b""
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        output += part
    os.close(master)
    assert process.wait(60) == 0
    text = output.decode()
    assert "━" in text
    assert "\x1b[" in text
    assert "Epoch 1:" not in text
    assert "Coefficients" in text


def _close(shown: object, found: object, path: str = "") -> None:
    """Compare two answers: numbers to 1e-9, ids not at all, everything else exactly."""
    if path.endswith((".request_id", ".batch", ".relative_gap")):
        assert type(shown) is type(found)
    elif isinstance(shown, dict):
        assert isinstance(found, dict)
        assert list(shown) == list(found)
        for name, value in shown.items():
            _close(value, found[name], f"{path}.{name}")
    elif isinstance(shown, list):
        assert isinstance(found, list)
        assert len(shown) == len(found)
        for one, other in zip(shown, found, strict=True):
            _close(one, other, path)
    elif isinstance(shown, float):
        assert found == pytest.approx(shown, rel=1e-9), path
    else:
        assert found == shown, path


def test_the_readmes_calls_give_what_it_shows(tmp_path: Path) -> None:
    """Every curl in README.md, in its order, on a fresh service, gives the answer printed below it."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    calls = [
        (text, follower)
        for (kind, text), follower in zip(blocks, [*blocks[1:], ("", "")], strict=True)
        if "curl" in text and kind == "sh"
    ]
    assert len(calls) >= 6
    (tmp_path / "model_store").mkdir()
    with serving(tmp_path / "model_store") as running:
        for text, (kind, shown) in calls:
            command = text.replace("localhost:8000", str(running.client.base_url).rstrip("/"))
            done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
            if kind == "json":
                _close(json.loads(shown), json.loads(done.stdout))
            elif kind == "csv":
                table, answer = ([line.split(",") for line in part.split()] for part in (shown, done.stdout))
                assert table[0] == answer[0]
                for line, other in zip(table[1:], answer[1:], strict=True):
                    for cell, found in zip(line, other, strict=True):
                        same = cell == found or float(found) == pytest.approx(float(cell), rel=1e-9)
                        assert same, (cell, found)
            else:
                assert '"status"' not in done.stdout
