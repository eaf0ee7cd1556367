"""The rights of the stages follow the declarations of the topics: each has what it needs, and nothing else."""

import pytest
from typer.testing import CliRunner

from penstock.acls import MADE, STAGES, acls
from penstock.cli import build_app
from penstock.settings import load_settings
from penstock.topics import SOURCES, TOPICS

SETTINGS = load_settings(topic_prefix="shop-", pipeline_version=3)
RIGHTS = acls(SETTINGS)


def names(stage: str, operation: str, kind: str = "topic") -> set[str]:
    return {acl.name for acl in RIGHTS if (acl.stage, acl.operation, acl.kind) == (stage, operation, kind)}


def full(topics: object) -> set[str]:
    return {topic.full_name(SETTINGS) for topic in topics}  # type: ignore[attr-defined]


def test_nobody_writes_what_another_stage_writes() -> None:
    assert names("producers", "write") == full(SOURCES)
    assert names("processors", "write") == full(MADE)
    assert full(SOURCES) | full(MADE) == full(TOPICS)
    assert not full(SOURCES) & full(MADE)
    assert not any(names(stage, "write") for stage in ("consumers", "referee", "admin"))


def test_who_keeps_views_and_who_proves_them_reads_everything_and_producers_read_nothing() -> None:
    assert names("consumers", "read") == names("referee", "read") == full(TOPICS)
    assert full(SOURCES) <= names("processors", "read")
    assert not names("producers", "read")
    assert not names("admin", "read")


def test_only_the_admin_creates_topics_and_nobody_deletes_or_alters() -> None:
    assert names("admin", "create") == full(TOPICS)
    assert {acl.operation for acl in RIGHTS} == {"read", "write", "create", "describe", "describe_configs"}
    assert {acl.stage for acl in RIGHTS if acl.operation == "create"} == {"admin"}


def test_a_group_belongs_to_one_stage_and_the_referee_joins_none() -> None:
    assert names("processors", "read", "group") == {"shop-penstock-processors.v3"}
    assert names("consumers", "read", "group") == {"shop-penstock-consumers"}
    assert not names("referee", "read", "group")
    assert {acl.name for acl in RIGHTS if acl.prefixed} == {"shop-penstock-consumers"}


def test_every_right_is_on_a_name_and_none_on_all() -> None:
    assert all(acl.name.startswith("shop-") for acl in RIGHTS)
    assert len(set(RIGHTS)) == len(RIGHTS)
    assert {acl.stage for acl in RIGHTS} == set(STAGES)


def test_the_list_can_be_asked_for_one_stage_and_for_users_of_other_names() -> None:
    arguments = ["acls", "list", "--stage", "producers", "--principal", "producers=User:CN=shop"]
    said = CliRunner().invoke(build_app(), arguments).stdout
    assert "User:CN=shop" in said
    assert "orders, telemetry" in said
    assert "consumers" not in said


@pytest.mark.parametrize(
    "arguments",
    ["--stage nobody", "--principal producers=me", "--principal x=User:me", "--principal producers"],
)
def test_a_stage_or_a_principal_that_can_not_be_is_refused(arguments: str) -> None:
    done = CliRunner().invoke(build_app(), ["acls", "list", *arguments.split()])
    assert done.exit_code != 0
    assert any(word in str(done.exception) for word in ("is no stage", "must be STAGE=User:NAME"))
