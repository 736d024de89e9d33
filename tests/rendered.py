"""deploy/kubernetes as a cluster would get it: rendered by kubectl, which needs no cluster for that."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
NEEDED = "ORCHARD_TESTS_NEED_KUBECTL"
Json = dict[str, Any]


@functools.cache
def objects(folder: str = "example") -> list[Json]:
    """Return the objects of one of the folders; skip the test where there is no kubectl (CI has one)."""
    if shutil.which("kubectl") is None:
        if os.environ.get(NEEDED):
            pytest.fail("kubectl is not installed: scripts/kubectl.py brings it")
        pytest.skip("kubectl is not installed: scripts/kubectl.py brings it")
    done = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(kind: str) -> dict[str, Json]:
    """Return the objects of a kind, by their names."""
    return {each["metadata"]["name"]: each for each in objects() if each["kind"] == kind}


def pods() -> dict[str, Json]:
    """Return what pods are made of, by the names of the Deployments and of the CronJob that make them."""
    made = {name: each["spec"]["template"] for name, each in of_kind("Deployment").items()}
    return made | {name: each["spec"]["jobTemplate"]["spec"]["template"] for name, each in of_kind("CronJob").items()}


def container(pod: Json) -> Json:
    """Return the one container of a pod."""
    (found,) = pod["spec"]["containers"]
    return dict(found)


def variables(pod: Json, secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the variables that a pod's container gets, with what these Secrets hold, by their names and keys."""
    read = container(pod)
    found = dict[str, str]()
    for source in read["envFrom"]:
        if "configMapRef" in source:
            found |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
        else:
            found |= _optional(secrets, source["secretRef"])
    for each in read["env"]:
        if "value" in each:
            found[each["name"]] = each["value"]
            continue
        reference = each["valueFrom"]["secretKeyRef"]
        secret = _optional(secrets, reference)
        if reference["key"] in secret or not reference.get("optional"):
            found[each["name"]] = secret[reference["key"]]
    return found


def _optional(secrets: dict[str, dict[str, str]], reference: Json) -> dict[str, str]:
    """Return a Secret's entries; none of one that need not be there."""
    return secrets.get(reference["name"], {}) if reference.get("optional") else secrets[reference["name"]]


def labels_of(each: Json) -> set[tuple[str, str]]:
    """Return an object's labels."""
    return set(each["metadata"]["labels"].items())


def selected(selector: dict[str, str]) -> Iterator[str]:
    """Yield the names of those whose pods a selector selects."""
    for name, pod in pods().items():
        if selector.items() <= pod["metadata"]["labels"].items():
            yield name
