"""``python infra/kubernetes/generate.py``: the manifests that follow from declarations elsewhere; a test holds them.

Topics come from ``penstock/topics.py``, users and their rights from ``penstock/acls.py``, the rules from
``infra/prometheus/rules``, the scripts of the small Postgres from ``infra/postgres``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from penstock.acls import STAGES, Acl, Stage, acls
from penstock.settings import Settings
from penstock.topics import TOPICS, Topic

HERE = Path(__file__).resolve().parent
POSTGRES = HERE.parent / "postgres"
RULES = HERE.parent / "prometheus" / "rules"
CLUSTER = {"strimzi.io/cluster": "penstock"}
REPLICAS = 3
_OPERATIONS = {"describe_configs": "DescribeConfigs"}


def documents() -> dict[str, list[dict[str, Any]]]:
    """Return the documents of each generated file, by its path from here."""
    settings = Settings.model_construct(topic_prefix="", pipeline_version=1)
    rights = acls(settings)
    return {
        "base/topics.yaml": [_topic(topic, settings) for topic in TOPICS],
        "base/users.yaml": [_user(stage, [acl for acl in rights if acl.stage == stage]) for stage in STAGES],
        "base/rules.yaml": [_rules()],
        "overlays/dev/postgres-init.yaml": [_postgres_init()],
    }


def text(found: list[dict[str, Any]]) -> str:
    """Return a file's text."""
    head = "# Made by infra/kubernetes/generate.py: change what it is made from.\n"
    return head + yaml.safe_dump_all(found, sort_keys=False, width=120, allow_unicode=True)


def _topic(topic: Topic, settings: Settings) -> dict[str, Any]:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.full_name(settings), "labels": CLUSTER},
        "spec": {
            "partitions": topic.partitions,
            "replicas": REPLICAS,
            "config": {**topic.config(), "min.insync.replicas": "2"},
        },
    }


def _user(stage: Stage, rights: list[Acl]) -> dict[str, Any]:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": f"penstock-{stage}", "labels": CLUSTER},
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": list(_merged(rights))},
        },
    }


def _merged(rights: list[Acl]) -> Iterator[dict[str, Any]]:
    """Yield the rights of a user, the operations on one thing together."""
    operations: dict[tuple[str, str, bool], list[str]] = {}
    for acl in rights:
        name = _OPERATIONS.get(acl.operation, acl.operation.capitalize())
        operations.setdefault((acl.kind, acl.name, acl.prefixed), []).append(name)
    for (kind, name, prefixed), allowed in operations.items():
        pattern = "prefix" if prefixed else "literal"
        yield {"resource": {"type": kind, "name": name, "patternType": pattern}, "operations": allowed}


def _rules() -> dict[str, Any]:
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "penstock", "labels": {"app.kubernetes.io/part-of": "penstock"}},
        "spec": {"groups": groups},
    }


def _postgres_init() -> dict[str, Any]:
    """Return the scripts of infra/postgres: kustomize reads no file outside of its folder."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "postgres-init"},
        "data": {file.name: file.read_text() for file in sorted(POSTGRES.glob("*.sh"))},
    }


def main() -> int:
    """Write the files."""
    for name, found in documents().items():
        (HERE / name).write_text(text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
