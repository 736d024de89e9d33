"""`orchard forecast` and `orchard forecasts`: on the store alone, and through a service, with the same answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, copy_store, orchard, serving

TABLE = ROOT / "deploy" / "examples" / "forecast.csv"


@pytest.fixture(params=["the store", "a service"])
def settings(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return where the command is to work."""
    store = copy_store(trained, tmp_path / "store")
    if request.param == "the store":
        yield {}
        return
    with serving(store) as running:
        yield running.settings


def test_forecasts_are_stored_listed_and_erased(settings: dict[str, str], tmp_path: Path) -> None:
    """What is predicted is shown, and listed as it was; those without a harvest; the batch goes as a whole."""

    def run(*words: str, code: int = 0) -> str:
        done = orchard(tmp_path / "store", *words, **settings)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    assert run("forecasts") == "no forecast\n"
    shown = run("forecast", str(TABLE), "--note", "spring", "--key", "k", "--level", "0.8")
    assert "3 forecasts by version 1 stored" in shown
    stored = json.loads(run("forecast", str(TABLE), "--note", "spring", "--key", "k", "--level", "0.8", "--json"))
    assert stored["batch"] in shown
    assert (stored["level"], [each["region"] for each in stored["predictions"]]) == (0.8, ["K", "L", "M"])
    yields = stored["predictions"][0]["yields"]["mango"]
    interval = f"{yields['tons']:.2f} ({yields['low']:.2f} to {yields['high']:.2f})"
    assert interval in shown
    assert interval in run("forecasts")
    page = json.loads(run("forecasts", "--season", "2027", "--limit", "1", "--json"))
    assert page["forecasts"][0]["yields"] == stored["predictions"][0]["yields"]
    assert "there are more: --after" in run("forecasts", "--limit", "1")
    harvest = tmp_path / "harvest.csv"
    harvest.write_text(
        f"region,forecast,harvested,temperature,rainfall,humidity,mango\nX,{stored['batch']}-1,2027-10-01,90,90,62,82\n"
    )
    run("observations", "add", str(harvest))
    assert "2027-10-01" in run("observations", "--csv")
    opened = json.loads(run("forecasts", "--open", "--json"))["forecasts"]
    assert [each["region"] for each in opened] == ["K", "M"]
    assert (
        run("forecasts", "--csv").splitlines()[1].startswith(f"{stored['batch']}-0,K,2027,2027-09-30,75.0,70.0,45.0,")
    )
    assert "spring" in run("forecasts", "batches")
    assert "--csv or --json" in run("forecasts", "--csv", "--json", code=2)
    assert run("forecasts", "erase", stored["batch"]) == f"batch {stored['batch']}: 3 forecasts erased\n"
    assert "there is no batch of forecasts" in run("forecasts", "erase", stored["batch"], code=2)
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("region,temperature,rainfall,humidity\nA,70,80,50\n")
    assert "the column 'season' is missing" in run("forecast", str(lacking), code=2)
