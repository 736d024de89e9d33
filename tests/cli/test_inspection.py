"""`orchard check` looks at all that is stored."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.conftest import ROOT
from tests.running import copy_store, orchard

GOLDEN = ROOT / "tests" / "stores" / "0.1.0" / "sqlite"


def test_a_whole_store(tmp_path: Path) -> None:
    """Exit code 0, and what was looked at."""
    store = copy_store(GOLDEN, tmp_path / "store")
    done = orchard(store, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "looked at 3 versions, 4 lines of the log, 5 batches\nall is as it was written\n"


def test_damage_everywhere(tmp_path: Path) -> None:
    """Exit code 4, and a line for each thing that is not what was written."""
    store = copy_store(GOLDEN, tmp_path / "store")
    assert orchard(store, "check").returncode == 0
    with closing(sqlite3.connect(store / "observations.db")) as database:
        database.execute("UPDATE observations SET season = '1925' WHERE region = 'Marchfeld'")
        database.execute("DELETE FROM observations WHERE region = 'L'")
        database.commit()
    version = store / "versions" / "3.safetensors"
    version.write_bytes(version.read_bytes()[:-1] + b"x")
    (store / "versions" / "1.safetensors").unlink()
    (store / "log" / "3.json").write_bytes((store / "log" / "4.json").read_bytes())
    done = orchard(store, "check", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 4
    assert len(found["faults"]) == 6
    for told in (
        "line 3 of the log is damaged: it is line 4",
        "there is no version 1",
        "the file of version 3 is damaged",
        "row 0 of batch",
        "has 2 rows in the database, 3 were written",
    ):
        assert any(told in fault for fault in found["faults"]), (told, found["faults"])
