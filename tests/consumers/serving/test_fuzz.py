"""The API against its own description: whatever is asked, no answer is a failure, and each is as described."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode

from consumers.serving.api import ENDPOINTS
from consumers.serving.kinds import Text
from consumers.serving.run import Server

QUICK, LONG = 2, 60

REFUSING = {
    endpoint.path for endpoint in ENDPOINTS if any(not isinstance(item.kind, Text) for item in endpoint.parameters)
}
"""Where a question can be wrong: any text may be an id."""


def without_made_up_cursors(case: Case) -> Case:
    """A cursor is an opaque text: one that is made up is rightly refused, though its schema can't say so."""
    query: dict[str, Any] = case.query or {}
    query.pop("cursor", None)
    return case


def fuzz(server: Server, examples: int) -> int:
    """Ask each endpoint ``examples`` right and as many wrong questions; return how many were asked."""
    schema = schemathesis.openapi.from_url(f"{server.address}/api/openapi.json")
    asked = 0
    rules = settings(
        max_examples=examples, database=None, derandomize=True,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for found in schema.exclude(path="/api/stream").get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode == GenerationMode.NEGATIVE and operation.path not in REFUSING:
                continue
            questions = operation.as_strategy(generation_mode=mode)

            @rules
            @given(case=questions.map(without_made_up_cursors) if mode == GenerationMode.POSITIVE else questions)
            def ask(case: Case) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(base_url=server.address, timeout=60)

            ask()
    return asked


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_every_answer_is_as_described(server: Server) -> None:
    assert fuzz(server, QUICK) >= 30


@pytest.mark.slow
def test_every_answer_is_as_described_to_many_more_questions(server: Server) -> None:
    assert fuzz(server, LONG) >= 1_000
