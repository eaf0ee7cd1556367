"""Kinds of values: of each its JSON schema, how it is read from a request, and how it is written.

The schema that the API's description shows and the rule that a request is held to are one declaration here.
"""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

MAX_TEXT = 1_000
"""The longest text that a contract lets into a view."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP = re.compile(r":60(?=[.Z+-]|$)")


class Kind(Protocol):
    """A kind of value."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""

    def parse(self, text: str) -> Any:
        """Return the value that a request means; ValueError, with the reason, when it is none."""

    def write(self, value: Any) -> Any:
        """Return a value of the database as JSON has it."""


@dataclass(frozen=True)
class Text:
    """Any text without NUL (no database takes that)."""

    longest: int = MAX_TEXT

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": "^[^\\u0000]*$"}

    def parse(self, text: str) -> str:
        """See :class:`Kind`."""
        if not 1 <= len(text) <= self.longest or "\0" in text:
            raise ValueError(f"must have 1 to {self.longest} characters, and no NUL")
        return text

    def write(self, value: Any) -> Any:
        """See :class:`Kind`."""
        return value


@dataclass(frozen=True)
class Said(Text):
    """A text as the database has it; never read from a request."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string"}


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "enum": list(self.words)}

    def parse(self, text: str) -> str:
        """See :class:`Kind`."""
        if text not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}")
        return text

    def write(self, value: Any) -> Any:
        """See :class:`Kind`."""
        return value


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int = -(1 << 63)
    most: int = (1 << 63) - 1

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def parse(self, text: str) -> int:
        """See :class:`Kind`."""
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or not self.least <= int(text) <= self.most:
            raise ValueError(f"must be a whole number from {self.least} to {self.most}")
        return int(text)

    def write(self, value: Any) -> int:
        """See :class:`Kind`."""
        return int(value)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "boolean"}

    def parse(self, text: str) -> bool:
        """See :class:`Kind`."""
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    def write(self, value: Any) -> bool:
        """See :class:`Kind`."""
        return bool(value)


@dataclass(frozen=True)
class Time:
    """A moment: RFC 3339 outside, milliseconds since 1970 in the database."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "format": "date-time"}

    def parse(self, text: str) -> int:
        """See :class:`Kind`."""
        try:
            # A leap second has no place in our time scale: it counts as the second before.
            moment = datetime.fromisoformat(_LEAP.sub(":59", text.upper()))
            if moment.tzinfo is None or "T" not in text.upper():
                raise ValueError
        except ValueError:
            raise ValueError("must be a time as in 2026-11-21T06:57:00Z") from None
        since = moment - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000

    def write(self, value: Any) -> str:
        """See :class:`Kind`."""
        return datetime.fromtimestamp(value // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{value % 1000:03}Z"


@dataclass(frozen=True)
class Money:
    """An exact amount: a decimal text outside, an integer of 1/10,000 in the database."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "pattern": "^-?[0-9]+\\.[0-9]{4}$", "examples": ["19.9900"]}

    def parse(self, text: str) -> int:
        """See :class:`Kind`."""
        raise ValueError("can't be asked for")

    def write(self, value: Any) -> str:
        """See :class:`Kind`."""
        whole, part = divmod(abs(int(value)), 10_000)
        return f"{'-' if value < 0 else ''}{whole}.{part:04}"


@dataclass(frozen=True)
class Reading:
    """A measured value: a number outside, an integer (or a mean of such) of 1/1,000,000 in the database."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "number"}

    def parse(self, text: str) -> int:
        """See :class:`Kind`."""
        raise ValueError("can't be asked for")

    def write(self, value: Any) -> float:
        """See :class:`Kind`."""
        return round(float(value) / 1_000_000, 6)


@dataclass(frozen=True)
class Bytes:
    """Bytes as they came: base64."""

    @property
    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "string", "contentEncoding": "base64"}

    def parse(self, text: str) -> bytes:
        """See :class:`Kind`."""
        raise ValueError("can't be asked for")

    def write(self, value: Any) -> str:
        """See :class:`Kind`."""
        return base64.b64encode(bytes(value)).decode()
