"""The manifests: current, whole, right by the schemas of their kinds, and in step with what the stages are."""

import importlib.util
import json
import re
import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import pytest
import yaml

from penstock.settings import Settings, variable

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
SCHEMAS = Path(__file__).parent / "kubernetes_schemas" / "schemas.json"
OVERLAYS = ("dev", "production")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STAGE_COMPONENTS = {"producers", "processors", "consumers", "referee"}
METRICS_PORT, API_PORT = 9100, 8080

Document = dict[str, Any]


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", KUBERNETES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resources(folder: Path) -> list[Path]:
    """Return the files that a kustomization names, those of the folders that it names included."""
    found = []
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
        path = (folder / name).resolve()
        found += resources(path) if path.is_dir() else [path]
    return found


@cache
def documents(overlay: str) -> list[Document]:
    paths = resources(KUBERNETES / "overlays" / overlay)
    return [found for path in paths for found in yaml.safe_load_all(path.read_text()) if found]


def of_kind(kind: str, overlay: str = "dev") -> dict[str, Document]:
    return {found["metadata"]["name"]: found for found in documents(overlay) if found["kind"] == kind}


def pods(overlay: str = "dev") -> dict[str, Document]:
    """Return the pod templates by the name of what makes them."""
    found = of_kind("Deployment", overlay) | of_kind("StatefulSet", overlay) | of_kind("Job", overlay)
    return {name: one["spec"]["template"] for name, one in found.items()}


def container(pod: Document) -> Document:
    (only,) = pod["spec"]["containers"]
    return dict(only)


def matches(selector: Document, labels: Document) -> bool:
    plain = selector.get("matchLabels", {})
    chosen = all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()))
    return chosen and all(labels.get(name) == value for name, value in plain.items())


def ours() -> dict[str, Document]:
    return {name: pod for name, pod in pods().items() if container(pod)["image"].startswith("penstock:")}


@pytest.mark.parametrize(
    "name", ["base/topics.yaml", "base/users.yaml", "base/rules.yaml", "overlays/dev/postgres-init.yaml"]
)
def test_what_is_generated_is_current(name: str) -> None:
    module = generator()
    expected = module.text(module.documents()[name])
    assert (KUBERNETES / name).read_text() == expected, "run python infra/kubernetes/generate.py"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_is_whole_and_named_once(overlay: str) -> None:
    found = [(one["kind"], one["metadata"]["name"]) for one in documents(overlay)]
    assert len(found) == len(set(found)) > 20
    assert all(one["apiVersion"] for one in documents(overlay))


def test_every_manifest_belongs_to_a_kustomization_and_every_patch_to_a_resource() -> None:
    named = {path for overlay in OVERLAYS for path in resources(KUBERNETES / "overlays" / overlay)}
    assert {path.resolve() for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"} == named
    for overlay in OVERLAYS:
        known = {(one["kind"], one["metadata"]["name"]) for one in documents(overlay)}
        for patch in yaml.safe_load((KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text())["patches"]:
            assert (patch["target"]["kind"], patch["target"]["name"]) in known


def test_selectors_find_their_pods_and_nobody_elses() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for kind in ("Deployment", "StatefulSet"):
        for name, one in of_kind(kind).items():
            assert [pod for pod, has in labels.items() if matches(one["spec"]["selector"], has)] == [name]
    for name, service in of_kind("Service").items():
        selector = {"matchLabels": service["spec"]["selector"]}
        assert [pod for pod, has in labels.items() if matches(selector, has)] == [name]
        offered = {port["name"] for port in container(pods()[name])["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= offered
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert [pod for pod, has in labels.items() if matches(budget["spec"]["selector"], has)] == [name]
    for scaled in of_kind("ScaledObject").values():
        assert scaled["spec"]["scaleTargetRef"]["name"] in of_kind("Deployment")


@pytest.mark.parametrize("name", sorted(ours()))
def test_a_stage_runs_this_version_without_rights_and_with_limits(name: str) -> None:
    pod = ours()[name]
    one = container(pod)
    assert one["image"] == f"penstock:{VERSION}"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    assert pod["spec"]["automountServiceAccountToken"] is False
    rights = one["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    assert one["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", sorted(ours()))
def test_a_stage_is_told_only_settings_that_there_are(name: str) -> None:
    known = {variable(field) for field in Settings.model_fields}
    known |= {f"{field}_FILE" for field in known} | {"HOME"}
    one = container(ours()[name])
    shared = of_kind("ConfigMap")["penstock-settings"]["data"]
    told = {entry["name"]: entry.get("value", "") for entry in one["env"]} | shared
    assert told.keys() <= known
    mounts = {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
    volumes = {volume["name"] for volume in ours()[name]["spec"]["volumes"]}
    assert set(mounts.values()) == volumes
    for variable_name, path in told.items():
        if variable_name.endswith("_FILE"):
            assert str(Path(path).parent) in mounts


def test_whoever_speaks_to_kafka_is_a_user_that_there_is_and_has_the_clusters_certificate() -> None:
    users = of_kind("KafkaUser")
    settings = of_kind("ConfigMap")["penstock-settings"]["data"]
    for name, pod in ours().items():
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] not in STAGE_COMPONENTS:
            continue
        env = {entry["name"]: entry.get("value") for entry in container(pod)["env"]}
        secrets = {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
        user = env["KAFKA_SASL_USERNAME"]
        assert user in users, name
        assert {user, "penstock-cluster-ca-cert"} <= secrets
        assert users[user]["spec"]["authentication"]["type"] == "scram-sha-512"
    listener = of_kind("Kafka")["penstock"]["spec"]["kafka"]["listeners"][0]
    assert settings["KAFKA_BOOTSTRAP_SERVERS"].endswith(f":{listener['port']}")
    assert settings["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"


def test_probes_ask_what_the_stages_answer_on_the_ports_where_they_listen() -> None:
    settings = of_kind("ConfigMap")["penstock-settings"]["data"]
    assert settings["PENSTOCK_HTTP_PORT"] == str(METRICS_PORT)
    for name, pod in ours().items():
        one = container(pod)
        if name in of_kind("Job"):
            continue
        ports = {port["name"]: port["containerPort"] for port in one["ports"]}
        assert ports == ({"api": API_PORT} if name == "api" else {"http": METRICS_PORT})
        probes = {probe: one[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {probe: asked["path"] for probe, asked in probes.items()} == {
            "startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready",
        }  # fmt: skip
        assert {asked["port"] for asked in probes.values()} == set(ports)


def test_prometheus_scrapes_every_stage_and_may_reach_it() -> None:
    monitor = of_kind("PodMonitor")["stages"]["spec"]
    policy = of_kind("NetworkPolicy")["metrics"]["spec"]
    scraped = [name for name, pod in pods().items() if matches(monitor["selector"], pod["metadata"]["labels"])]
    assert sorted(scraped) == ["orders-producer", "processors", "referee", "telemetry-producer", "views"]
    for name in scraped:
        assert matches(policy["podSelector"], pods()[name]["metadata"]["labels"])
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": METRICS_PORT}]
    jobs = set(re.findall(r'job="(\w+)"', (KUBERNETES / "base" / "rules.yaml").read_text()))
    assert jobs <= {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods().values()}


def test_nobody_speaks_to_anybody_but_as_a_policy_says() -> None:
    policies = of_kind("NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    to_kafka, to_database = policies["to-kafka"]["spec"], policies["to-database"]["spec"]
    for name, pod in pods().items():
        labels, volumes = pod["metadata"]["labels"], pod["spec"].get("volumes", ())
        secrets = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        assert matches(to_kafka["podSelector"], labels) == ("penstock-cluster-ca-cert" in secrets), name
        has_database = any("database" in secret for secret in secrets) or name == "registry"
        assert matches(to_database["podSelector"], labels) == has_database, name


def test_scaling_is_by_a_metric_that_there_is_and_not_beyond_the_partitions() -> None:
    from penstock import telemetry
    from penstock.topics import SOURCES

    partitions = sum(topic.partitions for topic in SOURCES)
    for scaled in of_kind("ScaledObject").values():
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        assert telemetry.LAG_SECONDS.name in query
        assert scaled["spec"]["maxReplicaCount"] <= partitions


@cache
def schemas() -> dict[str, Document]:
    return dict(json.loads(SCHEMAS.read_text()))


@cache
def validator(kind: str) -> jsonschema_rs.Validator:
    """Return what checks a document of ``kind`` (API version and kind); KeyError for one without a schema."""
    return jsonschema_rs.validator_for({**schemas()["kinds"][kind], "$defs": schemas()["$defs"]})


def wrong(document: Document) -> list[str]:
    """Return what Kubernetes would refuse in a document."""
    errors = validator(f"{document['apiVersion']} {document['kind']}").iter_errors(document)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


def patched(overlay: str) -> list[Document]:
    """Return the documents of an overlay with its patches (JSON Patch: replace and remove)."""
    found = deepcopy(documents(overlay))
    for patch in yaml.safe_load((KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text())["patches"]:
        (one,) = (one for one in found if (one["kind"], one["metadata"]["name"]) == tuple(patch["target"].values()))
        for change in yaml.safe_load(patch["patch"]):
            place, last = at(one, change["path"])
            assert place[last] is not None
            apply(change["op"], place, last, change.get("value"))
    return found


def at(document: Document, path: str) -> tuple[Any, str | int]:
    """Return what holds the last step of a JSON pointer, and that step."""
    *steps, last = (int(step) if step.isdigit() else step for step in path.strip("/").split("/"))
    place: Any = document
    for step in steps:
        place = place[step]
    return place, last


def apply(change: str, place: Any, last: str | int, value: object) -> None:
    assert change in {"replace", "remove"}
    if change == "remove":
        del place[last]
    else:
        place[last] = value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_is_as_the_schema_of_its_kind_says(overlay: str) -> None:
    assert {one["metadata"]["name"]: found for one in patched(overlay) if (found := wrong(one))} == {}


def test_there_are_schemas_of_the_kinds_that_are_used_and_no_others() -> None:
    used = {f"{one['apiVersion']} {one['kind']}" for overlay in OVERLAYS for one in documents(overlay)}
    assert schemas()["kinds"].keys() == used


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "processors", "/spec/template/spec/containers/0/livenesProbe", {}),
        ("Deployment", "views", "/spec/replicas", "two"),
        ("Deployment", "api", "/spec/selector", None),
        ("Job", "register-schemas", "/spec/template/spec/containers/0/env/0/valueFrom", {"secretRef": {}}),
        ("NetworkPolicy", "to-kafka", "/spec/egres", []),
        ("PodDisruptionBudget", "processors", "/metadata/label", {}),
        ("Kafka", "penstock", "/spec/kafka/listeners/0/tls", "yes"),
        ("Kafka", "penstock", "/spec/kafka/listeners/0/type", "internall"),
        ("KafkaNodePool", "dual", "/spec/storage/volumes/0/sise", "5Gi"),
        ("KafkaTopic", "orders", "/spec/partitions", 0),
        ("KafkaUser", "penstock-processors", "/spec/authentication/type", "scram"),
        ("ScaledObject", "processors", "/spec/triggers/0/metadata", None),
        ("PodMonitor", "stages", "/spec/podMetricsEndpoints/0/pth", "/metrics"),
        ("ServiceMonitor", "registry", "/spec/selector", None),
        ("PrometheusRule", "penstock", "/spec/groups/0/rules/0/expr", None),
    ],
)
def test_a_damaged_manifest_is_refused(kind: str, name: str, path: str, value: object) -> None:
    damaged = deepcopy(of_kind(kind)[name])
    assert not wrong(damaged)
    place, last = at(damaged, path)
    apply("remove" if value is None else "replace", place, last, value)
    assert any(str(last) in found for found in wrong(damaged))
