"""POST /models/{version}/activate under an idempotency key."""

from pathlib import Path

from tests.running import HARVEST, copy_store, serving


def test_a_repeated_activation_is_one(trained: Path, tmp_path: Path) -> None:
    """Under one key it makes one line, even after others; the key is refused for another version; without, all do."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        running.client.post("/retrain", json=HARVEST | {"activate": "always"}, headers=running.write)
        keyed = running.write | {"Idempotency-Key": "back to the first"}
        first = running.client.post("/models/1/activate", json={"note": "back"}, headers=keyed)
        assert (first.status_code, first.json()["number"]) == (200, 3)
        assert running.client.post("/models/2/activate", headers=running.write).json()["number"] == 4
        again = running.client.post("/models/1/activate", json={"note": "back"}, headers=keyed)
        assert (again.status_code, again.json()) == (200, first.json())
        other = running.client.post("/models/2/activate", headers=keyed)
        assert (other.status_code, other.json()["code"]) == (409, "key_reused")
        assert running.version() == "2"
        unkeyed = running.client.post("/models/2/activate", headers=running.write).json()
        assert unkeyed["number"] == 5
        assert "key" not in unkeyed
        assert len(running.client.get("/models/log").json()["log"]) == 5
