"""The lock file: what is locked stays, what is new gets a new id, what breaks is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract_lock import check, extended, ids_of, problems, unlocked
from penstock.contracts import LOCK_NAME, Contract, load_contracts, load_lock, save_lock
from penstock.errors import PenstockError
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME

CONTRACTS = load_contracts()


def changed(name: str, change: Any) -> dict[str, Contract]:
    """Return the contracts with one schema changed in place by ``change``."""
    schema = copy.deepcopy(CONTRACTS[name].schema)
    change(schema)
    return {**CONTRACTS, name: Contract(name, CONTRACTS[name].folder, schema)}


def with_note(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "note", "type": ["null", "string"], "default": None, "doc": "A note."})


def test_the_lock_file_of_this_repository_is_up_to_date_and_nothing_breaks() -> None:
    assert check(CONTRACTS, load_lock()) == []


def test_to_lock_twice_changes_nothing_the_second_time() -> None:
    once = extended(CONTRACTS, {})
    assert extended(CONTRACTS, once) == once
    assert unlocked(CONTRACTS, once) == []
    assert list(once) == list(range(1, len(CONTRACTS) + 1))


def test_a_changed_contract_gets_a_new_id_and_the_old_entry_stays() -> None:
    before = extended(CONTRACTS, {})
    now = changed("OrderPlaced", with_note)
    after = extended(now, before)
    assert {schema_id: after[schema_id] for schema_id in before} == before
    assert after[max(before) + 1] == now["OrderPlaced"]
    assert ids_of(now["OrderPlaced"], after) == [*ids_of(CONTRACTS["OrderPlaced"], before), max(before) + 1]


@given(st.permutations(sorted(CONTRACTS)))
def test_ids_do_not_depend_on_the_order_of_the_files(names: list[str]) -> None:
    assert extended({name: CONTRACTS[name] for name in names}, {}) == extended(CONTRACTS, {})


def test_an_incompatible_change_may_not_be_locked() -> None:
    def break_it(schema: dict[str, Any]) -> None:
        schema["fields"].append({"name": "must", "type": "string", "doc": "New, and without a default."})

    (found,) = problems(changed("OrderPlaced", break_it), extended(CONTRACTS, {}))
    assert (found.record, found.violation.rule, found.violation.path) == (
        "OrderPlaced",
        "no-default",
        "OrderPlaced.must",
    )


def test_a_contract_that_breaks_a_rule_of_form_may_not_be_locked() -> None:
    found = problems(changed("OrderPlaced", lambda schema: schema.pop("doc")), {})
    assert [(item.version, item.violation.rule) for item in found] == [("contract", "doc")]


def test_check_names_a_contract_that_is_not_locked() -> None:
    found = check(changed("OrderPaid", with_note), extended(CONTRACTS, {}))
    assert [(item.record, item.violation.rule) for item in found] == [("OrderPaid", "not-locked")]


def test_a_contract_that_is_no_record_is_reported_and_crashes_nothing() -> None:
    def make_enum(schema: dict[str, Any]) -> None:
        schema.pop("fields")
        schema.update(type="enum", symbols=["A"])

    found = check(changed("OrderPaid", make_enum), extended(CONTRACTS, {}))
    assert "not-a-record" in [item.violation.rule for item in found]


def test_the_lock_file_survives_being_written_and_read(tmp_path: Path) -> None:
    locked = extended(changed("OrderPlaced", with_note), extended(CONTRACTS, {}))
    save_lock(locked, tmp_path)
    text = (tmp_path / LOCK_NAME).read_text()
    assert load_lock(tmp_path) == locked
    save_lock(load_lock(tmp_path), tmp_path)
    assert (tmp_path / LOCK_NAME).read_text() == text


def test_without_a_lock_file_nothing_is_locked(tmp_path: Path) -> None:
    assert load_lock(tmp_path) == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda entries: entries[0]["schema"].update(doc="Edited."), "was changed"),
        (lambda entries: entries[1].update(id=entries[0]["id"]), "was changed"),
        (lambda entries: entries[0].pop("schema"), "no lock file"),
    ],
)
def test_a_lock_file_that_was_edited_by_hand_is_refused(tmp_path: Path, damage: Any, message: str) -> None:
    save_lock(extended(CONTRACTS, {}), tmp_path)
    raw = json.loads((tmp_path / LOCK_NAME).read_text())
    damage(raw["schemas"])
    (tmp_path / LOCK_NAME).write_text(json.dumps(raw))
    with pytest.raises(PenstockError, match=message):
        load_lock(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "named Thing"),
        ('{"name": "Other", "namespace": "x"}', "named Thing"),
        ('{"name": "Thing"}', "named Thing"),
    ],
)
def test_a_contract_file_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "Thing.avsc").write_text(text)
    with pytest.raises(PenstockError, match=message):
        load_contracts(tmp_path)


def test_a_record_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("orders", "telemetry"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Thing.avsc").write_text('{"name": "Thing", "namespace": "x"}')
    with pytest.raises(PenstockError, match="already in folder orders"):
        load_contracts(tmp_path)


def test_locked_ids_know_every_locked_version_of_a_topics_records_and_no_other() -> None:
    before = extended(CONTRACTS, {})
    now = changed("OrderPlaced", with_note)
    after = extended(now, before)
    ids, (first, second) = LockedIds(after, now), ids_of(now["OrderPlaced"], after)
    assert ids.id_of(now["OrderPlaced"], BY_NAME["orders"]) == second
    assert ids.writer(first, BY_NAME["orders"]) == CONTRACTS["OrderPlaced"]
    assert ids.writer(second, BY_NAME["orders"]) == now["OrderPlaced"]
    assert ids.writer(first, BY_NAME["telemetry"]) is None
    assert ids.writer(999, BY_NAME["orders"]) is None
    with pytest.raises(PenstockError, match="schemas lock"):
        LockedIds(before, now).id_of(now["OrderPlaced"], BY_NAME["orders"])
