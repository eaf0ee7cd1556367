"""`penstock schemas` and `penstock topics` as they are typed: what they print, and their exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock import contracts
from penstock.commands import schemas, topics
from penstock.errors import ExitCode, GaveUpWaiting, PenstockError, UsageError
from penstock.topics import TOPICS
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.processes import free_port
from testbed.registry import SchemaRegistry


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCHEMA_REGISTRY_URL", "PENSTOCK_EMBEDDED", "KAFKA_BOOTSTRAP_SERVERS", "PENSTOCK_TOPIC_PREFIX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the contracts that a test may change; the commands use it."""
    root = tmp_path / "avro_schemas"
    shutil.copytree(contracts.SCHEMAS_DIR, root)
    for function in (contracts.load_contracts, contracts.load_lock):
        monkeypatch.setattr(function, "__defaults__", (root,))
    monkeypatch.setattr(contracts.save_lock, "__defaults__", (root,))
    return root


def run(*arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed. A PenstockError comes through."""
    app = typer.Typer()
    schemas.register(app)
    topics.register(app)
    result = CliRunner().invoke(app, arguments, standalone_mode=False, env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return int(result.return_value or 0), result.output


def change(root: Path, name: str, how: Callable[[dict[str, Any]], object]) -> None:
    path = next(root.glob(f"*/{name}.avsc"))
    schema = json.loads(path.read_text())
    how(schema)
    path.write_text(json.dumps(schema, indent=2))


def test_list_names_every_record_with_its_topics_and_locked_ids() -> None:
    code, output = run("schemas", "list")
    assert code == ExitCode.OK
    assert all(name in output for name in contracts.load_contracts())
    assert "orders, telemetry" in output


def test_check_is_fine_with_the_contracts_of_this_repository() -> None:
    code, output = run("schemas", "check")
    assert (code, output.startswith("fine: ")) == (ExitCode.OK, True)


def test_lock_changes_nothing_that_is_locked_already(folder: Path) -> None:
    before = (folder / "lock.json").read_text()
    code, output = run("schemas", "lock")
    assert (code, output.startswith("unchanged")) == (ExitCode.OK, True)
    assert (folder / "lock.json").read_text() == before


def test_a_compatible_change_is_to_be_locked_and_then_is(folder: Path) -> None:
    note = {"name": "note", "type": ["null", "string"], "default": None, "doc": "A note."}
    change(folder, "OrderPaid", lambda schema: schema["fields"].append(note))
    assert run("schemas", "check")[0] == ExitCode.FAILED
    highest = max(contracts.load_lock())
    code, output = run("schemas", "lock")
    assert (code, output.strip()) == (ExitCode.OK, f"locked OrderPaid as id {highest + 1}")
    assert run("schemas", "check")[0] == ExitCode.OK
    assert run("schemas", "lock")[1].startswith("unchanged")


def test_an_incompatible_change_is_named_by_rule_and_field_and_never_locked(folder: Path) -> None:
    change(folder, "OrderPaid", lambda schema: schema["fields"].append({"name": "must", "type": "int", "doc": "New."}))
    before = (folder / "lock.json").read_text()
    for command in ("check", "lock"):
        code, output = run("schemas", command)
        assert code == ExitCode.FAILED
        assert "no-default" in output
        assert "OrderPaid.must" in output
    assert (folder / "lock.json").read_text() == before


def test_register_without_a_registry_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="SCHEMA_REGISTRY_URL"):
        run("schemas", "register")


@pytest.mark.parametrize("command", ["register", "check"])
def test_a_registry_that_stays_away_ends_the_wait_with_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{free_port()}/apis/ccompat/v7")
    with pytest.raises(GaveUpWaiting) as raised:
        run("schemas", command, "--timeout", "0.3")
    assert raised.value.exit_code == ExitCode.GAVE_UP


def test_a_broker_that_stays_away_ends_the_wait_with_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    with pytest.raises(GaveUpWaiting):
        run("topics", "list", "--timeout", "0.1")


def test_the_embedded_broker_needs_no_topics_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    for command in ("create", "list"):
        code, output = run("topics", command)
        assert code == ExitCode.OK
        assert "makes a topic on first use" in output


def test_register_and_check_speak_to_the_real_registry(
    registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
    assert run("schemas", "register")[0] == ExitCode.OK
    code, output = run("schemas", "register")
    assert (code, output.count("unchanged")) == (ExitCode.OK, output.count("io.penstock"))
    code, output = run("schemas", "check")
    assert registry.url in output


def test_topics_are_created_then_exist_on_a_real_broker(
    kafka: KafkaBroker | ExternalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("PENSTOCK_TOPIC_PREFIX", f"cli{free_port()}-")
    assert run("topics", "list")[1].count("missing") == len(TOPICS)
    assert run("topics", "create")[1].count(": created") == len(TOPICS)
    code, output = run("topics", "create")
    assert (code, output.count(": exists")) == (ExitCode.OK, len(TOPICS))
    code, output = run("topics", "list")
    assert (code, output.count("as declared")) == (ExitCode.OK, len(TOPICS))


def test_a_wrong_option_is_told_before_anything_is_asked() -> None:
    with pytest.raises(Exception, match="greater than or equal to 1"):
        run("topics", "create", "--replication", "0")


def test_every_command_says_what_it_does() -> None:
    for group in ("schemas", "topics"):
        assert "Usage" in run(group, "--help")[1]
    assert "BACKWARD_TRANSITIVE" in run("schemas", "check", "--help")[1]


def test_a_broken_contract_file_is_one_line_and_no_traceback(folder: Path) -> None:
    (folder / "orders" / "OrderPaid.avsc").write_text("{")
    with pytest.raises(PenstockError, match=r"OrderPaid\.avsc: not JSON"):
        run("schemas", "check")
