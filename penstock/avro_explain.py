"""Why bytes are no record of a schema: one sentence for whoever looks at the dead letter.

Slow and plain, for records that were refused already; it decides nothing.
"""

from collections.abc import Sequence
from typing import Any

_FIXED_BYTES = {"double": 8, "float": 4}
_LONG_BYTES = 10


class _WrongError(Exception):
    """The sentence."""


def explain(fields: Sequence[dict[str, Any]], member: bytes, header_bytes: int) -> str:
    """Return where ``member`` stops to follow ``fields`` (those of a block schema), in a sentence.

    The same bytes always give the same sentence.
    """
    cursor = _Cursor(member, header_bytes)
    try:
        for field in fields:
            cursor.skip(field["type"], field["name"])
    except _WrongError as wrong:
        return str(wrong)
    if cursor.at < len(member):
        return f"{len(member) - cursor.at} bytes are left behind the last field"
    return "its bytes do not follow the schema"


class _Cursor:
    """A place in the bytes, moved over one value after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def skip(self, avro_type: Any, path: str) -> None:
        """Move over a value. Raises :class:`_WrongError`."""
        if isinstance(avro_type, list):
            if self._long(path) != 0:
                self.skip(avro_type[1], path)
            return
        kind = avro_type["type"] if isinstance(avro_type, dict) else avro_type
        if kind == "array":
            self._array(avro_type["items"]["fields"], path)
        elif kind == "long":
            self._long(path)
        elif kind in ("string", "bytes"):
            self._text(kind, path, is_decimal=isinstance(avro_type, dict))
        else:
            self._take(avro_type["size"] if kind == "fixed" else _FIXED_BYTES[kind], path)

    def _array(self, fields: Sequence[dict[str, Any]], path: str) -> None:
        seen = 0
        while (count := self._long(path)) != 0:
            if count < 0:
                self._long(path)
            for number in range(seen, seen + abs(count)):
                for field in fields:
                    self.skip(field["type"], f"{path}[{number}].{field['name']}")
            seen += abs(count)

    def _text(self, kind: str, path: str, *, is_decimal: bool) -> None:
        count = self._long(path)
        if count < 0:
            raise _WrongError(f"{path}: its length is {count}")
        raw = self._take(count, path)
        if is_decimal and count > 16:
            raise _WrongError(f"{path}: a decimal of {count} bytes is too long")
        if kind == "string":
            try:
                raw.decode()
            except UnicodeDecodeError:
                raise _WrongError(f"{path}: is not UTF-8") from None

    def _take(self, count: int, path: str) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            raise _WrongError(f"{path}: takes {count} bytes, and {left} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def _long(self, path: str) -> int:
        value = 0
        for place in range(_LONG_BYTES):
            (byte,) = self._take(1, path)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                value &= (1 << 64) - 1
                return (value >> 1) ^ -(value & 1)
        raise _WrongError(f"{path}: a number or length of more than {_LONG_BYTES} bytes")
