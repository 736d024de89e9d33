"""deploy/kubernetes without a cluster: what is rendered is valid, fits together, and fits the image and the service."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.settings import PREFIX, Settings
from tests.dockerfile import TARGETS, all_of, environment
from tests.pages import sections
from tests.rendered import FOLDER, ROOT, Json, container, labels_of, objects, of_kind, pods, selected, variables
from tests.routes import calls

OLDEST = "1.30"
"""The oldest Kubernetes that the manifests are for."""
VERSIONS = [pytest.param(OLDEST, marks=pytest.mark.long), kubernetes_validate.latest_version()]
TEXT = {"type": "string"}
SECRETS = {"orchard": {"database-url": "postgresql+psycopg://user:word@host/name", "token": "t" * 16}}
"""What deploy/README.md has users put there; a test compares."""


def _closed(required: list[str], **properties: Any) -> Json:
    """Return the schema of an object that has these fields, of which some must be there, and no others."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _object(kind: str, version: str, spec: Json) -> Json:
    texts = {"type": "object", "additionalProperties": TEXT}
    metadata = _closed(["name"], name=TEXT, namespace=TEXT, labels=texts)
    return _closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


_LABELS: Json = {"type": "object", "additionalProperties": TEXT, "minProperties": 1}
_ENDPOINT = _closed(["port"], port=TEXT, path={"type": "string", "pattern": "^/"}, interval={"pattern": r"^\d+s$"})
_RULE = _closed(["alert", "expr"], alert=TEXT, expr=TEXT, labels=_LABELS, annotations=_LABELS, **{"for": TEXT})
_GROUP = _closed(["name", "rules"], name=TEXT, rules={"type": "array", "items": _RULE})
OPERATOR = "monitoring.coreos.com/v1"
OTHERS = {
    "ServiceMonitor": _object(
        "ServiceMonitor",
        OPERATOR,
        _closed(
            ["selector", "endpoints"],
            jobLabel=TEXT,
            selector=_closed(["matchLabels"], matchLabels=_LABELS),
            endpoints={"type": "array", "items": _ENDPOINT, "minItems": 1},
        ),
    ),
    "PrometheusRule": _object(
        "PrometheusRule", OPERATOR, _closed(["groups"], groups={"type": "array", "items": _GROUP})
    ),
}
"""Of kinds that Kubernetes itself does not have: the fields of the Prometheus operator that are used here."""


def _check(each: Json, version: str) -> None:
    """Check an object against the schema of its kind: a field that is not there is a fault."""
    if each["kind"] in OTHERS:
        jsonschema.validate(each, OTHERS[each["kind"]])
    else:
        kubernetes_validate.validate(each, version, strict=True)


def _pod(spec: Json) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}


@pytest.fixture(scope="module")
def inference_service() -> Json:
    """Return the example for KServe."""
    found: Json = yaml.safe_load((FOLDER / "kserve" / "inference-service.yaml").read_text())
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_that_kubernetes_takes(version: str) -> None:
    """Each field of each object is one of its kind, in the oldest version and in the newest."""
    kinds = [each["kind"] for each in objects()]
    for each in objects():
        _check(each, version)
    assert len(kinds) == 15
    assert {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "NetworkPolicy"} <= set(kinds)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ("template", "spec", "containers", 0, "ports", 0, "containerPort")),
        ("NetworkPolicy", ("egress",)),
        ("ServiceMonitor", ("endpoints", 0, "interval")),
        ("PrometheusRule", ("groups", 0, "rules", 0, "for")),
    ],
)
def test_a_field_that_is_misspelt_is_found(kind: str, path: tuple[str | int, ...]) -> None:
    """The test above fails if the last letter of one field is missing."""
    for each in of_kind(kind).values():
        assert _is_found(each, path)


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", ["Deployment", "CronJob", "Ingress", "NetworkPolicy", "HorizontalPodAutoscaler", *OTHERS]
)
def test_any_field_that_is_misspelt_is_found(kind: str) -> None:
    """In any depth."""
    for each in of_kind(kind).values():
        paths = list(_fields(each["spec"]))
        assert len(paths) > 4
        assert [path for path in paths if not _is_found(each, path)] == []


def _is_found(each: Json, path: tuple[str | int, ...]) -> bool:
    """Say whether an object is refused whose field at the end of a path lacks its last letter."""
    broken = copy.deepcopy(each)
    *above, last = path
    inner = broken["spec"]
    for step in above:
        inner = inner[step]
    inner[str(last)[:-1]] = inner.pop(last)
    try:
        _check(broken, kubernetes_validate.latest_version())
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError):
        return True
    return False


OURS = {"matchLabels", "labels", "annotations", "requests", "limits", "selector"}
"""What holds names that are for us to choose."""


def _fields(inner: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the ways to fields; of a list, to those of its first entry."""
    if isinstance(inner, list) and inner:
        yield from _fields(inner[0], *above, 0)
    elif isinstance(inner, dict) and not (above and above[-1] in OURS):
        for name in inner:
            yield (*above, name)
            yield from _fields(inner[name], *above, name)


def test_the_base_is_rendered_by_itself() -> None:
    """It has what the example has, but for what is named there: namespace, addresses, and what watches it."""
    kinds = [each["kind"] for each in objects("base")]
    assert sorted([*kinds, "Namespace", *OTHERS]) == sorted(each["kind"] for each in objects())
    (settings,) = (each["data"] for each in objects("base") if each["kind"] == "ConfigMap")
    # Without it the image's own store, with a first model in it, would be served in silence.
    assert Settings(**_values(settings), database_url=SECRETS["orchard"]["database-url"]).is_remote


def _values(data: dict[str, str]) -> dict[str, Any]:
    """Return settings of variables, by their names in `Settings`."""
    return {name.removeprefix(PREFIX).lower(): value for name, value in data.items() if name.startswith(PREFIX)}


def test_services_lead_to_pods() -> None:
    """Each to those of one Deployment, at the port that the service listens on there."""
    services = of_kind("Service")
    assert {name: list(selected(each["spec"]["selector"])) for name, each in services.items()} == {
        "orchard-serve": ["orchard-serve"],
        "orchard-write": ["orchard-write"],
    }
    for name, service in services.items():
        (port,) = service["spec"]["ports"]
        (opened,) = container(pods()[name])["ports"]
        assert port["targetPort"] == opened["name"]
        assert str(opened["containerPort"]) == variables(pods()[name], SECRETS)["ORCHARD_PORT"]
        for each in (service, of_kind("Deployment")[name]):
            assert each["metadata"]["namespace"] == "orchard"
    assert set(of_kind("Namespace")) == {"orchard"}


def test_deployments_own_their_pods() -> None:
    """A Deployment, a budget and a spread select the pods of the one that they are for, and no others."""
    deployments = of_kind("Deployment")
    for name, deployment in deployments.items():
        assert list(selected(deployment["spec"]["selector"]["matchLabels"])) == [name]
        assert pods()[name]["spec"]["serviceAccountName"] in of_kind("ServiceAccount")
    spreads = pods()["orchard-serve"]["spec"]["topologySpreadConstraints"]
    assert len(spreads) == 2
    for spread in spreads:
        assert list(selected(spread["labelSelector"]["matchLabels"])) == ["orchard-serve"]
    (budget,) = of_kind("PodDisruptionBudget").values()
    assert list(selected(budget["spec"]["selector"]["matchLabels"])) == ["orchard-serve"]


def test_replicas_are_the_scalers() -> None:
    """It scales the pods that serve, by the CPU that they ask for, and always leaves more than the budget needs."""
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    target = scaler["spec"]["scaleTargetRef"]
    deployment = of_kind(target["kind"])[target["name"]]
    assert target["apiVersion"] == deployment["apiVersion"]
    assert "replicas" not in deployment["spec"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "cpu" in container(pods()[target["name"]])["resources"]["requests"]
    (budget,) = of_kind("PodDisruptionBudget").values()
    assert budget["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]
    writer = of_kind("Deployment")["orchard-write"]["spec"]
    assert (writer["replicas"], writer["strategy"]) == (1, {"type": "Recreate"})


def test_what_changes_something_goes_to_the_writer() -> None:
    """Of every call of the service, by the rules of an Ingress: the longest path wins, an exact one before others."""
    (ingress,) = of_kind("Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        assert backend["port"]["name"] in [
            port["name"] for port in of_kind("Service")[backend["name"]]["spec"]["ports"]
        ]
    led = {(method, path): _led(rule["http"]["paths"], path) for method, path in calls()}
    assert led == {call: "orchard-write" if is_write else "orchard-serve" for call, is_write in calls().items()}
    assert led["POST", "/retrain"] == led["POST", "/models/version/activate"] == "orchard-write"
    assert led["POST", "/predict"] == led["GET", "/"] == led["GET", "/models/live/drift"] == "orchard-serve"
    assert set(variables(pods()["orchard-serve"], SECRETS)["ORCHARD_HOSTS"].split(",")) == {
        rule["host"],
        *of_kind("Service"),
    }
    assert rule["host"] in ingress["spec"]["tls"][0]["hosts"]


def _led(paths: list[Json], asked: str) -> str:
    """Return the Service that a path leads to."""
    fitting = [
        (path["pathType"] == "Exact", len(path["path"]), path["backend"]["service"]["name"])
        for path in paths
        if asked == path["path"]
        or (path["pathType"] == "Prefix" and f"{asked}/".startswith(f"{path['path'].rstrip('/')}/"))
    ]
    return str(max(fitting)[2])


def test_pods_reach_what_they_need_and_nothing_else() -> None:
    """In: the port of the service. Out: names, the bucket, the database. For all pods."""
    (policy,) = of_kind("NetworkPolicy").values()
    assert sorted(selected(policy["spec"]["podSelector"]["matchLabels"])) == sorted(pods())
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = {
        way: [port["port"] for rule in policy["spec"][way] for port in rule["ports"]] for way in ("ingress", "egress")
    }
    assert ports == {"ingress": [8000], "egress": [53, 53, 443, 5432]}


def test_settings_are_settings() -> None:
    """Each variable of a pod is one that the service knows, and all together are settings that it takes."""
    for name, pod in pods().items():
        found = variables(pod, SECRETS)
        named = {variable for variable in found if variable.startswith(PREFIX)}
        assert {variable.removeprefix(PREFIX).lower() for variable in named} <= set(Settings.model_fields), name
        settings = Settings(**_values(found))
        assert settings.is_remote
        assert (settings.host, settings.drain_s, settings.log_format) == ("0.0.0.0", 10, "json")  # noqa: S104 - a pod's


def test_secrets_have_what_is_asked_of_them() -> None:
    """Keys that must be there are those that the documentation has users make; the token is a file that may change."""
    made = "".join(block.text for block in sections("deploy/README.md")["Kubernetes"])
    keys = re.findall(
        r"--from-(?:literal|file)=([\w-]+)=", made.partition("secret generic orchard ")[2].split("\n\n")[0]
    )
    assert set(keys) == set(SECRETS["orchard"])
    for name, pod in pods().items():
        (volume,) = (each for each in pod["spec"]["volumes"] if "secret" in each)
        (mount,) = (each for each in container(pod)["volumeMounts"] if each["name"] == volume["name"])
        (item,) = volume["secret"]["items"]
        assert item["key"] in SECRETS[volume["secret"]["secretName"]]
        assert variables(pod, SECRETS)["ORCHARD_TOKEN_FILE"] == f"{mount['mountPath']}/{item['path']}", name
        assert "subPath" not in mount
        assert "ORCHARD_TOKEN" not in variables(pod, SECRETS)


def test_pods_have_no_rights() -> None:
    """They run as the image's user, on a root that cannot be written to, with no token of the cluster's."""
    (user,) = {all_of(target, "USER")[-1] for target in TARGETS}
    for pod in pods().values():
        spec, inside = pod["spec"], container(pod)["securityContext"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": int(user.split(":")[0]),
            "runAsGroup": int(user.split(":")[1]),
            "fsGroup": int(user.split(":")[1]),
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert inside == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        # Variables such as ORCHARD_SERVE_PORT=tcp://… look like settings; of a Service "orchard" one would be one.
        assert spec["enableServiceLinks"] is False
    (namespace,) = of_kind("Namespace").values()
    assert ("pod-security.kubernetes.io/enforce", "restricted") in labels_of(namespace)


def test_pods_have_memory_and_no_limit_of_cpu() -> None:
    """Of memory they ask for some and may have more; what the image calls TMPDIR is memory too."""
    for pod in pods().values():
        resources = container(pod)["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}
        memory = [each["name"] for each in pod["spec"]["volumes"] if each.get("emptyDir", {}).get("medium") == "Memory"]
        mounted = {each["mountPath"] for each in container(pod)["volumeMounts"] if each["name"] in memory}
        assert mounted == {environment(target)["TMPDIR"] for target in TARGETS}


def test_pods_may_end_in_order() -> None:
    """They answer until the last probe can have told that they end, and are left the time that they take to end."""
    for name, pod in pods().items():
        settings = Settings(**_values(variables(pod, SECRETS)))
        assert pod["spec"]["terminationGracePeriodSeconds"] > settings.drain_s + settings.grace_s
        if name in of_kind("Deployment"):
            ready = container(pod)["readinessProbe"]
            assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < settings.drain_s


def test_probes_ask_what_there_is() -> None:
    """Ready: whether it may be asked. Alive: whether a restart would help; that it waits for a model is no reason."""
    for name in of_kind("Deployment"):
        read = container(pods()[name])
        paths = {probe: read[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert paths == {
            "startupProbe": "/health/live",
            "readinessProbe": "/health/ready",
            "livenessProbe": "/health/live",
        }
        assert {read[probe]["httpGet"]["port"] for probe in paths} == {read["ports"][0]["name"]}


def test_images_are_targets_of_the_dockerfile() -> None:
    """The names are those that the Dockerfile says how to build; what trains has the whole, what serves no torch."""
    text = (ROOT / "Dockerfile").read_text()
    built = {
        name: target or "whole" for name, target in re.findall(r"docker build -t ([\w-]+)(?: --target (\w+))? \.", text)
    }
    used = {name: container(pod)["image"] for name, pod in pods().items()}
    assert {name: built[image.rpartition("/")[2].partition(":")[0]] for name, image in used.items()} == {
        "orchard-serve": "serve",
        "orchard-write": "whole",
        "orchard-train": "whole",
    }
    assert {image.rpartition(":")[2] for image in used.values()} == {__version__}
    assert set(built.values()) == set(TARGETS)


def test_prometheus_asks_each_pod_and_calls_them_one_job() -> None:
    """The monitor selects both Services, and their job is the one that the alerts and the dashboard name."""
    (monitor,) = of_kind("ServiceMonitor").values()
    services = of_kind("Service")
    for service in services.values():
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "orchard"
        assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == [service["spec"]["ports"][0]["name"]]
    assert ("GET", monitor["spec"]["endpoints"][0]["path"]) in calls()
    assert 'job="orchard"' in (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()


def test_the_operators_alerts_are_those_of_prometheus() -> None:
    """The file is deploy/prometheus/alerts.yml from `groups` on, further to the right."""
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    _, groups, rest = alerts.partition("groups:\n")
    text = "".join(f"  {line}" if line.strip() else line for line in (groups + rest).splitlines(keepends=True))
    file = (FOLDER / "monitoring" / "alerts.yaml").read_text()
    assert file.partition("spec:\n")[2] == text
    (rules,) = of_kind("PrometheusRule").values()
    assert rules["spec"] == {"groups": yaml.safe_load(alerts)["groups"]}


def test_nothing_is_trained_by_itself() -> None:
    """The first training is a Job that somebody makes of a template: `train` sets aside what was reported before."""
    (cron,) = of_kind("CronJob").values()
    assert cron["spec"]["suspend"] is True
    made = "".join(block.text for block in sections("deploy/README.md")["Kubernetes"])
    assert f"--from=cronjob/{cron['metadata']['name']}" in made
    assert container(pods()["orchard-train"])["args"][0] == "train"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_example_for_kserve_has_a_valid_pod(version: str, inference_service: Json) -> None:
    """Besides two fields of KServe's own, its predictor is a pod's specification; a misspelt field is found too."""
    assert (inference_service["apiVersion"], inference_service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    predictor = dict(inference_service["spec"]["predictor"])
    assert predictor.pop("minReplicas") < predictor.pop("maxReplicas")
    kubernetes_validate.validate(_pod(predictor), version, strict=True)
    predictor["container"] = predictor.pop("containers")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(_pod(predictor), version, strict=True)


def test_the_example_for_kserve_serves_as_the_deployment_does(inference_service: Json) -> None:
    """The same image, settings, volumes and rights, and the probes of KServe's protocol."""
    predictor, pod = inference_service["spec"]["predictor"], pods()["orchard-serve"]
    (ours,), theirs = predictor["containers"], container(pod)
    values = {each["name"]: each["value"] for each in ours["env"] if "value" in each}
    behind = {"ORCHARD_HOSTS", "ORCHARD_TRUSTED_PROXIES"}  # of the Ingress, which KServe has its own of
    assert values.items() <= variables(pod, SECRETS).items()
    assert set(variables(pod, SECRETS)) - behind == {each["name"] for each in ours["env"]}
    for part in ("image", "args", "resources", "securityContext", "volumeMounts"):
        assert ours[part] == theirs[part]
    for part in ("volumes", "securityContext", "enableServiceLinks", "terminationGracePeriodSeconds"):
        assert predictor[part] == pod["spec"][part]
    for probe in ("readinessProbe", "livenessProbe"):
        assert ("GET", ours[probe]["httpGet"]["path"]) in calls()
        assert ours[probe]["httpGet"]["path"].startswith("/v2/health/")
