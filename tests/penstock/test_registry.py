"""The client of the registry, against a small one in memory: errors, caching, and which ids are whose."""

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from penstock.contract_lock import extended
from penstock.contracts import Contract, Schema, load_contracts
from penstock.errors import PenstockError, ProtectiveStop, Refused, Unavailable, UsageError
from penstock.registration import register_contracts, registry_breaks, subjects
from penstock.registry import COMPATIBILITY, NEGATIVE_ANSWERS_S, Registry, RegistryIds, schema_text
from penstock.schema_ids import LockedIds, schema_ids
from penstock.settings import load_settings
from penstock.topics import BY_NAME
from penstock.waiting import wait_for

CONTRACTS = load_contracts()
LOCKED = extended(CONTRACTS, {})
ORDERS, TELEMETRY = BY_NAME["orders"], BY_NAME["telemetry"]
PLACED = CONTRACTS["OrderPlaced"]


class SmallRegistry:
    """Confluent's API over a dict: ids by content, versions by subject. Schemas come back written anew."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.subjects: dict[str, list[int]] = {}
        self.rules: dict[str, str] = {}
        self.requests: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/")
        self.requests.append(f"{request.method} {path}")
        body = json.loads(request.content) if request.content else {}
        return self._answer(request.method, path.split("/"), body)

    def _answer(  # noqa: PLR0911  # a line for each path
        self, method: str, parts: list[str], body: dict[str, Any]
    ) -> httpx.Response:
        match method, parts:
            case "POST", ["subjects", subject]:
                schema_id = self.ids.get(body["schema"])
                known = self.subjects.get(subject, [])
                return self._version(subject, known.index(schema_id)) if schema_id in known else not_found(40403)
            case "POST", ["subjects", subject, "versions"]:
                schema_id = self.ids.setdefault(body["schema"], len(self.ids) + 1)
                if schema_id not in self.subjects.setdefault(subject, []):
                    self.subjects[subject].append(schema_id)
                return httpx.Response(200, json={"id": schema_id})
            case "GET", ["subjects", subject, "versions"]:
                known = self.subjects.get(subject)
                return httpx.Response(200, json=[*range(1, len(known) + 1)]) if known else not_found(40401)
            case "GET", ["subjects", subject, "versions", number]:
                return self._version(subject, int(number) - 1)
            case "GET", ["schemas", "ids", schema_id]:
                return (
                    httpx.Response(200, json={"schema": text}) if (text := self._text(schema_id)) else not_found(40403)
                )
            case "GET", ["schemas", "ids", schema_id, "versions"]:
                using = [name for name, ids in self.subjects.items() if int(schema_id) in ids]
                return httpx.Response(200, json=[{"subject": name, "version": 1} for name in using])
            case "GET", ["config", subject]:
                rule = self.rules.get(subject)
                return httpx.Response(200, json={"compatibilityLevel": rule}) if rule else not_found(40401)
            case "PUT", ["config", subject]:
                self.rules[subject] = body["compatibility"]
                return httpx.Response(200, json=body)
        raise AssertionError(parts)

    def _text(self, schema_id: str | int) -> str | None:
        text = {known: text for text, known in self.ids.items()}.get(int(schema_id))
        return text and json.dumps(dict(reversed(json.loads(text).items())), indent=2)

    def _version(self, subject: str, index: int) -> httpx.Response:
        schema_id = self.subjects[subject][index]
        return httpx.Response(200, json={"version": index + 1, "id": schema_id, "schema": self._text(schema_id)})


def not_found(code: int) -> httpx.Response:
    return httpx.Response(404, json={"error_code": code, "message": "not found"})


def client(answer: Callable[[httpx.Request], httpx.Response], **overrides: Any) -> Registry:
    settings = load_settings(schema_registry_url="http://registry.test/api", **overrides)
    return Registry(settings, httpx.MockTransport(answer))


def with_field(contract: Contract, **more: Any) -> Contract:
    schema = copy.deepcopy(contract.schema)
    schema["fields"].append({"name": "extra", "type": "string", "doc": "d", **more})
    return Contract(contract.name, contract.folder, schema)


def ids_over(small: SmallRegistry, **more: Any) -> RegistryIds:
    return RegistryIds(client(small), LOCKED, CONTRACTS, **more)


def test_to_register_twice_changes_nothing_the_second_time() -> None:
    small = SmallRegistry()
    first = register_contracts(client(small), CONTRACTS)
    second = register_contracts(client(small), CONTRACTS)
    assert {line.outcome for line in first} == {"registered"}
    assert {line.outcome for line in second} == {"unchanged"}
    assert [line.schema_id for line in first] == [line.schema_id for line in second]
    assert set(small.rules.values()) == {COMPATIBILITY}
    assert small.rules.keys() == small.subjects.keys() == {subject for subject, _ in subjects(CONTRACTS)}


def test_a_subject_is_topic_and_record_without_the_prefix() -> None:
    names = {subject for subject, _ in subjects(CONTRACTS)}
    assert {"orders-io.penstock.Heartbeat", "telemetry-io.penstock.Heartbeat"} <= names
    assert "orders-io.penstock.orders.OrderPlaced" in names


def test_an_incompatible_contract_is_not_registered_and_the_message_says_why() -> None:
    small = SmallRegistry()
    register_contracts(client(small), CONTRACTS)
    before = dict(small.ids)
    with pytest.raises(PenstockError, match=r"OrderPlaced\.extra is new and has no default"):
        register_contracts(client(small), {**CONTRACTS, "OrderPlaced": with_field(PLACED)})
    assert small.ids == before


def test_check_names_breaks_against_every_version_in_the_registry() -> None:
    small = SmallRegistry()
    register_contracts(client(small), {**CONTRACTS, "OrderPlaced": with_field(PLACED, default="")})
    assert registry_breaks(client(small), CONTRACTS) == []
    changed = with_field(PLACED)
    changed.schema["fields"][-1]["type"] = "int"
    (found,) = registry_breaks(client(small), {**CONTRACTS, "OrderPlaced": changed})
    assert found.version == "orders-io.penstock.orders.OrderPlaced version 1"
    assert (found.violation.rule, found.violation.path) == ("type-changed", "OrderPlaced.extra")


def test_an_id_is_looked_up_by_schema_once_and_nothing_is_registered() -> None:
    small = SmallRegistry()
    register_contracts(client(small), CONTRACTS)
    small.requests.clear()
    ids = ids_over(small)
    assert ids.id_of(PLACED, ORDERS) == ids.id_of(PLACED, ORDERS)
    assert small.requests == ["POST subjects/orders-io.penstock.orders.OrderPlaced"]


def test_a_contract_that_was_never_registered_says_which_command_helps() -> None:
    with pytest.raises(PenstockError, match="run `penstock schemas register`"):
        ids_over(SmallRegistry()).id_of(PLACED, ORDERS)


def test_a_writer_is_recognised_though_the_registry_writes_its_schema_anew() -> None:
    small = SmallRegistry()
    register_contracts(client(small), CONTRACTS)
    ids = ids_over(small)
    schema_id = ids.id_of(PLACED, ORDERS)
    small.requests.clear()
    assert ids.writer(schema_id, ORDERS) == ids.writer(schema_id, ORDERS) == PLACED
    assert small.requests == [f"GET schemas/ids/{schema_id}"]


def test_an_id_of_another_topic_is_nobodys() -> None:
    small = SmallRegistry()
    register_contracts(client(small), CONTRACTS)
    ids = ids_over(small)
    assert ids.writer(ids.id_of(PLACED, ORDERS), TELEMETRY) is None
    beat = CONTRACTS["Heartbeat"]
    assert ids.writer(ids.id_of(beat, ORDERS), TELEMETRY) == ids.writer(ids.id_of(beat, TELEMETRY), ORDERS) == beat


def test_an_unknown_id_is_asked_for_again_after_a_while() -> None:
    small, now = SmallRegistry(), [1000.0]
    ids = ids_over(small, clock=lambda: now[0])
    assert ids.writer(1, ORDERS) is ids.writer(1, ORDERS) is None
    assert len(small.requests) == 1
    small(httpx.Request("POST", "http://x/api/subjects/s/versions", json={"schema": schema_text(PLACED.schema)}))
    now[0] += NEGATIVE_ANSWERS_S - 1
    assert ids.writer(1, ORDERS) is None
    now[0] += 2
    assert ids.writer(1, ORDERS) == PLACED


@pytest.mark.parametrize("schema_id", [0, -1, 2**31, 2**32 - 1])
def test_an_id_that_no_registry_gives_costs_no_question(schema_id: int) -> None:
    small = SmallRegistry()
    assert ids_over(small).writer(schema_id, ORDERS) is None
    assert small.requests == []


def test_an_older_locked_version_is_returned_for_the_decoder_to_resolve() -> None:
    newer = with_field(PLACED, default="")
    current = {**CONTRACTS, "OrderPlaced": newer}
    small = SmallRegistry()
    register_contracts(client(small), CONTRACTS)
    register_contracts(client(small), current)
    ids = RegistryIds(client(small), extended(current, LOCKED), current)
    old_id = ids_over(small).id_of(PLACED, ORDERS)
    assert ids.writer(old_id, ORDERS) == PLACED
    assert ids.writer(ids.id_of(newer, ORDERS), ORDERS) == newer


def test_a_version_that_this_build_does_not_know_stops_it() -> None:
    small = SmallRegistry()
    register_contracts(client(small), {**CONTRACTS, "OrderPlaced": with_field(PLACED, default="")})
    newer = small.subjects["orders-io.penstock.orders.OrderPlaced"][0]
    with pytest.raises(ProtectiveStop, match=rf"schema id {newer} .* upgrade"):
        ids_over(small).writer(newer, ORDERS)
    assert ids_over(small).writer(newer, TELEMETRY) is None


def test_a_record_of_this_topic_that_this_build_has_never_heard_of_stops_it_too() -> None:
    small = SmallRegistry()
    schema = {**PLACED.schema, "name": "OrderRefunded"}
    refunded = client(small).register("orders-io.penstock.orders.OrderRefunded", schema)
    with pytest.raises(ProtectiveStop, match="OrderRefunded"):
        ids_over(small).writer(refunded, ORDERS)
    assert ids_over(small).writer(refunded, TELEMETRY) is None


def test_a_topic_whose_name_begins_alike_is_another_topic() -> None:
    small = SmallRegistry()
    schema = {**PLACED.schema, "name": "New", "namespace": "io.penstock.results"}
    schema_id = client(small).register("order-metrics-final-io.penstock.results.New", schema)
    assert ids_over(small).writer(schema_id, BY_NAME["order-metrics"]) is None
    with pytest.raises(ProtectiveStop):
        ids_over(small).writer(schema_id, BY_NAME["order-metrics-final"])


@pytest.mark.parametrize("change", [{"doc": "Other words."}, {"fields": "docs"}])
def test_a_version_that_differs_in_docs_only_is_the_one_we_know(change: dict[str, Any]) -> None:
    small, schema = SmallRegistry(), copy.deepcopy(PLACED.schema)
    if change == {"fields": "docs"}:
        schema["fields"][3]["doc"] = "Other words."
    else:
        schema.update(change)
    schema_id = client(small).register("orders-io.penstock.orders.OrderPlaced", schema)
    assert ids_over(small).writer(schema_id, ORDERS) == PLACED


@pytest.mark.parametrize("answer", [{"schema": '"string"'}, {"schema": "{"}, {"schema": "x", "schemaType": "JSON"}])
def test_an_id_of_something_that_is_no_avro_record_is_nobodys(answer: dict[str, Any]) -> None:
    ids = RegistryIds(client(lambda _: httpx.Response(200, json=answer)), LOCKED, CONTRACTS)
    assert ids.writer(5, ORDERS) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_that_is_not_ready_is_away(status: int) -> None:
    ids = RegistryIds(client(lambda _: httpx.Response(status, text="<html>")), LOCKED, CONTRACTS)
    with pytest.raises(Unavailable, match=f"http://registry.test/api is not ready: it answers {status}"):
        ids.writer(5, ORDERS)
    with pytest.raises(Unavailable):
        ids.id_of(PLACED, ORDERS)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("x")]
)
def test_a_registry_that_does_not_answer_is_away(error: httpx.TransportError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(Unavailable, match=r"http://registry\.test/api does not answer: \w+"):
        RegistryIds(client(fail), LOCKED, CONTRACTS).writer(5, ORDERS)


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_us_is_not_waited_for_by_a_command_that_ends(status: int) -> None:
    refusing = client(lambda _: httpx.Response(status))
    began = time.monotonic()
    with pytest.raises(Refused, match="SCHEMA_REGISTRY_PASSWORD"):
        wait_for("registry", lambda: refusing.schema(5), timeout_s=60)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("response", [httpx.Response(404, text="<html>"), httpx.Response(200, text="<html>Hello")])
def test_a_wrong_address_is_not_taken_for_an_unknown_id(response: httpx.Response) -> None:
    """Else every record would be dead-lettered because of a slip in SCHEMA_REGISTRY_URL."""
    with pytest.raises(PenstockError, match="SCHEMA_REGISTRY_URL"):
        RegistryIds(client(lambda _: response), LOCKED, CONTRACTS).writer(5, ORDERS)


def test_name_and_password_go_along_and_never_into_a_message() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(401)

    overrides = {"schema_registry_username": "me", "schema_registry_password": "hunter2"}
    with pytest.raises(PenstockError) as raised:
        client(answer, **overrides).schema(1)
    assert seen == ["Basic bWU6aHVudGVyMg=="]
    assert "hunter2" not in str(raised.value)


def test_the_text_of_a_schema_does_not_depend_on_the_order_of_its_keys() -> None:
    def reversed_keys(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: reversed_keys(part[key]) for key in reversed(part)}
        return [reversed_keys(value) for value in part] if isinstance(part, list) else part

    turned: Schema = reversed_keys(PLACED.schema)
    assert list(turned) != list(PLACED.schema)
    assert schema_text(turned) == schema_text(PLACED.schema)


def test_settings_choose_where_ids_come_from() -> None:
    assert isinstance(schema_ids(load_settings(embedded=True, schema_registry_url=None)), LockedIds)
    assert isinstance(schema_ids(load_settings(embedded=False, schema_registry_url="http://x/y")), RegistryIds)
    with pytest.raises(UsageError, match=r"SCHEMA_REGISTRY_URL.*PENSTOCK_EMBEDDED"):
        schema_ids(load_settings(embedded=False, schema_registry_url=None))
