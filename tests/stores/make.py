"""Makes a store as this version leaves it, for later ones to be tried on: ``python -m tests.stores.make 0.1.0``.

One on SQLite and one on PostgreSQL, through a running service: a first model, an accepted and a rejected retrain, an
upload under a key, a withdrawn batch, a rollback. Made once for each version that changes a format, never again.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.postgresql import Cluster, cluster, programs
from tests.running import HARVEST, Running, serving

HERE = Path(__file__).parent
UPLOAD = "region,season,temperature,rainfall,humidity,mango,blé\nMarchfeld,2025,75,80,55,,4.5\nK,2025,74,70,45,58.25,\n"
REJECTED: dict[str, Any] = {
    "observations": [
        {"region": "Z", "season": "2025", "temperature": 80, "rainfall": 90, "humidity": 50, "yields": {"mango": 9_000}}
    ],
    "note": "a typo",
}


def _fill(running: Running) -> None:
    """Make every kind of stored thing."""
    client, write = running.client, running.write
    key = {"Idempotency-Key": "harvest-2026"}
    accepted = client.post("/retrain", json=HARVEST | {"note": "harvest 2026"}, headers=write | key).json()
    assert (accepted["version"], accepted["activated"]) == ("2", True), accepted
    rejected = client.post("/retrain", json=REJECTED, headers=write).json()
    assert (rejected["version"], rejected["decision"]) == ("3", "rejected"), rejected
    headers = write | {"Idempotency-Key": "upload-2025", "Content-Type": "text/csv"}
    assert client.post("/observations?note=late", content=UPLOAD.encode(), headers=headers).status_code == 201
    wrong = client.post("/observations", json=HARVEST, headers=write).json()["batch"]
    gone = client.request("DELETE", f"/observations/batches/{wrong}?note=twice", headers=write)
    assert gone.status_code == 200, gone.text
    for version in ("1", "2"):
        assert client.post(f"/models/{version}/activate", json={"note": "look"}, headers=write).status_code == 200


def _keep(store: Path, target: Path) -> None:
    """Copy what is to last: versions and log; the token is made anew."""
    for name in ("versions", "log"):
        shutil.copytree(store / name, target / name)


def on_sqlite(target: Path) -> None:
    """Make it with the database in the store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        with serving(store) as running:
            _fill(running)
        _keep(store, target)
        with closing(sqlite3.connect(store / "observations.db")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(store / "observations.db", target)


def on_postgresql(server: Cluster, target: Path) -> None:
    """Make it with a database elsewhere."""
    url = server.database()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        with serving(store, ORCHARD_DATABASE_URL=url) as running:
            _fill(running)
        _keep(store, target)
    address = url.replace("postgresql+psycopg", "postgresql")
    options = ["--inserts", "--no-owner", "--no-privileges"]
    dump = subprocess.run([server.programs / "pg_dump", *options, address], capture_output=True, text=True, check=True)
    # Statements alone, so that any client can take them in.
    kept = [line for line in dump.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
    (target / "observations.sql").write_text("\n".join(kept) + "\n")


def main() -> None:
    """Make both."""
    folder = HERE / sys.argv[1]
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    on_sqlite(folder / "sqlite")
    with cluster(found) as server:
        on_postgresql(server, folder / "postgresql")


if __name__ == "__main__":
    main()
