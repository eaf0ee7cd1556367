"""Giving the stages their rights on a real broker."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from penstock.acls import Acl, Stage, acls
from penstock.errors import PenstockError
from penstock.kafka import REQUEST_TIMEOUT_S, admin, explain
from penstock.settings import Settings

_ANY_HOST = "*"


class Granted(NamedTuple):
    """A right, who has it, and whether it had to be given."""

    acl: Acl
    principal: str
    created: bool


def apply_acls(settings: Settings, principals: Mapping[Stage, str]) -> list[Granted]:
    """Give each stage in ``principals`` (``User:NAME`` by stage) the rights that it lacks; none is taken away.

    Safe to do again. Raises Unavailable, and PenstockError when we may not, or the broker has no authorizer.
    """
    client = admin(settings)
    wanted = {acl: _binding(acl, principals[acl.stage]) for acl in acls(settings) if acl.stage in principals}
    present = set(_answer(client.describe_acls(_EVERYTHING, request_timeout=REQUEST_TIMEOUT_S), settings))
    missing = [binding for binding in wanted.values() if binding not in present]
    _create(client, missing, settings)
    return [Granted(acl, principals[acl.stage], binding in missing) for acl, binding in wanted.items()]


_ANY: Any = None
_EVERYTHING = AclBindingFilter(
    ResourceType.ANY, _ANY, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
)


def _binding(acl: Acl, principal: str) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL
    return AclBinding(
        ResourceType[acl.kind.upper()],
        acl.name,
        pattern,
        principal,
        _ANY_HOST,
        AclOperation[acl.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _create(client: Any, bindings: Sequence[AclBinding], settings: Settings) -> None:
    if not bindings:
        return
    for future in client.create_acls(list(bindings), request_timeout=REQUEST_TIMEOUT_S).values():
        _answer(future, settings)


def _answer(future: Any, settings: Settings) -> Any:
    try:
        return future.result() or ()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            raise PenstockError("the broker has no authorizer: everybody may do everything there") from None
        raise explain(error, settings) from None
