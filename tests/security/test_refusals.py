"""Who is turned away is told so: a stage goes on trying and is not ready, a command that ends does so at once."""

import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock.errors import ExitCode, GaveUpWaiting, PenstockError, Refused, Unavailable
from penstock.health import Health
from penstock.kafka import translate
from penstock.refusals import SAY_AGAIN_S, ErrorEvents, cause, cause_of
from penstock.waiting import wait_for

LOGIN = "sasl_ssl://broker:9093/bootstrap: SASL error: invalid credentials (after 313ms in state AUTH_REQ)"
BAD_LOGIN = KafkaError(KafkaError._AUTHENTICATION, LOGIN)
BAD_CERTIFICATE = KafkaError(KafkaError._SSL, "ssl://broker:9093/2: SSL handshake failed: certificate verify failed")
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "3/3 brokers are down")
GONE = KafkaError(KafkaError._TRANSPORT, "broker:9092/bootstrap: Connect to ipv4#10.0.0.1 failed: Connection refused")


def test_what_the_client_says_aside_becomes_a_line_that_names_the_settings() -> None:
    login, certificate, gone = cause(BAD_LOGIN), cause(BAD_CERTIFICATE), cause(GONE)
    assert login == (True, "the broker refuses our login: SASL error: invalid credentials; check KAFKA_SASL_*")
    assert certificate is not None
    assert certificate.refused
    assert "certificate verify failed; check KAFKA_SSL_*" in certificate.why
    assert gone is not None
    assert not gone.refused
    assert gone.why.endswith("Connection refused")
    assert cause(DOWN) is None


@pytest.mark.parametrize("error", [BAD_LOGIN, BAD_CERTIFICATE])
def test_a_refusal_is_one_of_a_setting(error: KafkaError) -> None:
    assert isinstance(translate(KafkaException(error)), Refused)
    assert translate(error).exit_code == ExitCode.USAGE


def test_a_right_that_is_missing_is_not_waited_for_and_the_brokers_innards_are_not_told() -> None:
    found = translate(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "Request Request(processor=0, buffer=…"))
    assert not isinstance(found, Unavailable)
    assert str(found).startswith("Broker: Cluster authorization failed: we lack a right; `penstock acls list`")


def test_a_broker_that_is_not_there_is_away_and_the_reason_comes_in_a_moment() -> None:
    began = time.monotonic()
    found = cause_of({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, look_s=30.0)
    assert found is not None
    assert not found.refused
    assert "127.0.0.1:1" in found.why
    assert time.monotonic() - began < 20


def test_a_client_that_is_refused_goes_red_at_once_and_says_so_in_the_log_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now, seen = [0.0], list[str]()
    events = ErrorEvents(seen.append, lambda: now[0])
    for _ in range(100):
        events(BAD_LOGIN)
        events(DOWN)  # comes along, and says less
        now[0] += SAY_AGAIN_S / 50
    assert set(seen) == {cause(BAD_LOGIN).why}  # type: ignore[union-attr]
    assert "".join(capsys.readouterr()).count("the broker refuses us") == 2


def test_a_broker_that_is_down_makes_a_client_not_ready() -> None:
    seen = list[str]()
    events = ErrorEvents(seen.append)
    for error in (GONE, DOWN):
        events(error)
    assert seen == ["3/3 brokers are down"]


def _refuse() -> None:
    raise Refused("wrong password")


def test_a_command_that_ends_does_not_wait_for_who_refuses_it() -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match="wrong password"):
        wait_for("kafka", _refuse, timeout_s=60.0)
    assert time.monotonic() - began < 30


def test_a_stage_goes_on_trying_not_ready_until_it_is_let_in_or_stopped() -> None:
    health, answers = Health(), iter([Refused("wrong password"), Refused("wrong password"), None])
    health.started()
    seen = list[dict[str, str]]()

    def attempt() -> str:
        seen.append(health.ready())
        error = next(answers)
        if error is not None:
            raise error
        return "in"

    assert wait_for("kafka", attempt, health=health) == "in"
    assert seen == [{}, {"kafka": "wrong password"}, {"kafka": "wrong password"}]
    assert health.ready() == {}
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(GaveUpWaiting):
        wait_for("kafka", _refuse, stopping=stopping)


def test_refusals_are_errors_of_penstock_that_end_in_2() -> None:
    assert issubclass(Refused, PenstockError)
    assert Refused("x").exit_code == ExitCode.USAGE
