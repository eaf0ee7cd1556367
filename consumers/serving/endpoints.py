"""What an endpoint of the API is: one declaration that its description, its validation and its query come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from consumers.serving.kinds import Kind
from consumers.serving.look import Look
from consumers.serving.problems import Problem

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the path or the query. ``condition`` is what it asks of a row, in SQL, if it is that simple."""

    name: str
    kind: Kind
    about: str
    condition: str = ""
    default: Any = None
    in_path: bool = False


@dataclass(frozen=True)
class Field:
    """A field of an answer, and the column that it is written from."""

    name: str
    kind: Kind
    about: str = ""
    column: str = ""
    nullable: bool = False

    @property
    def source(self) -> str:
        """The column's name."""
        return self.column or self.name

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema."""
        schema = {**self.kind.schema, **({"description": self.about} if self.about else {})}
        if self.nullable:
            schema["type"] = [schema["type"], "null"]
        return schema

    def write(self, value: Any) -> Any:
        """Return the value as JSON has it."""
        return None if value is None else self.kind.write(value)


@dataclass(frozen=True)
class Endpoint:
    """A path, what may be asked, what is answered (schemas by name), and how it is read.

    ``read`` may raise :class:`Problem`, and :class:`penstock.errors.Unavailable`.
    """

    path: str
    operation: str
    about: str
    parameters: tuple[Parameter, ...]
    answer: dict[str, Any]
    read: Callable[[Look, Arguments], Any]
    schemas: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, path: Mapping[str, str], query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return what a request asks for. Raises :class:`Problem` 400 that names each thing that is wrong."""
        known = {parameter.name: parameter for parameter in self.parameters}
        given = [*path.items(), *query]
        names = [name for name, _ in given]
        wrong = [f"{name}: is given more than once" for name in sorted({n for n in names if names.count(n) > 1})]
        found: dict[str, Any] = {}
        for name, text in given:
            try:
                if name not in known or known[name].in_path != (name in path):
                    asked = [parameter.name for parameter in self.parameters if not parameter.in_path]
                    raise ValueError(f"is no parameter of this list; there are {', '.join(asked) or 'none'}")
                found[name] = known[name].kind.parse(text)
            except ValueError as error:
                wrong.append(f"{name[:100]}: {error}")
        if wrong:
            raise Problem(HTTPStatus.BAD_REQUEST, "; ".join(wrong[:10]))
        return {name: found.get(name, parameter.default) for name, parameter in known.items()}


def schema_of(fields: Sequence[Field], about: str) -> dict[str, Any]:
    """Return the JSON schema of an object of ``fields``; all are always there."""
    return {
        "type": "object",
        "description": about,
        "required": [item.name for item in fields],
        "properties": {item.name: item.schema for item in fields},
        "additionalProperties": False,
    }


def reference(name: str) -> dict[str, str]:
    """Return what stands for the schema called ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(fields: Sequence[Field], row: Sequence[Any]) -> dict[str, Any]:
    """Return a row of the fields' columns as the object that is answered."""
    return {item.name: item.write(value) for item, value in zip(fields, row, strict=True)}
