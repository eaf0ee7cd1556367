"""View files: a view is one ``.sql`` file of ``consumers/views/``, in one dialect for SQLite and Postgres.

A line that begins with ``--:`` is a directive; any other comment is only a comment. In their order:

``--: view NAME``               the view; the file has the same name
``--: about TEXT``              one line on what a row is
``--: reads TOPIC…``            the logical topics that it is built from
``--: table NAME``              then its ``CREATE TABLE``; a view may have several
``--: merge RECORD``            then, for records of that type:
``--: key COLUMN, …``           what one row of the staging table stands for
``--: newest COLUMN, …``        which of several records of a key is staged: the one with the largest of these, the
                                first of equals (left out: simply the first)
``--: stage COLUMN TYPE, …``    the columns of the staging table; names are the codec's (``amount_e4``), and for
                                results ``source_topic`` on top. Booleans arrive as 0 and 1, enums as text
                                and then the ``INSERT … SELECT … FROM {staging} … ON CONFLICT …``
``--: read NAME``               then the ``SELECT`` of a relation for people, a SQL view without a version in its name
``--: windows NAME``            the same three times: ``NAME``, ``NAME_by_hour``, ``NAME_by_day``, where ``{span}``
                                in the ``SELECT`` is the start of the minute, hour or day that ``window_start`` lies in
``--: gauge NAME LABEL, … : HELP``  then a ``SELECT`` of the labels' columns and a value, read when Prometheus scrapes;
                                several files may add to one gauge
``--: index``                   then its ``CREATE INDEX IF NOT EXISTS``: it makes reading quick, and decides no row

The staging table holds one row a key of the batch, sorted by it; a database may be given it piece by piece, as if each
piece were a batch. In braces stands what differs by version
or database: ``{NAME}`` a table of this file, ``{staging}``, ``{text}`` the type of a text that sorts by its bytes,
``{clustered}`` the end of a table that is stored in its key's order where that can be had, ``{sorted COLUMNS}`` an
``ORDER BY`` where it keeps two processes from a deadlock, ``{utc EXPRESSION}`` milliseconds as a time for people.
``{each TEXT}`` is the text for each slot of a block of registers with ``#`` as its number, between commas;
``{plus TEXT}`` the same with plus signs between.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from penstock.errors import PenstockError, UsageError
from penstock.metrics import SLOTS
from penstock.topics import BY_NAME, Topic

_DIRECTIVE = re.compile(r"^--:\s*(\w+)\s*(.*?)\s*$")
_BRACES = re.compile(r"\{(\w+)(?:\s+([^{}]*))?\}")
_SECTIONS = ("table", "index", "merge", "read", "windows", "gauge")
_HEADS = ("view", "about", "reads")
_OF_MERGE = ("key", "newest", "stage")
WINDOWS_MS = {"": 60_000, "_by_hour": 3_600_000, "_by_day": 86_400_000}
"""How long the windows of a relation are, by the end of its name."""

_REPEATED = {"each": ", ", "plus": " + "}

REBUILDS = 10_000
"""Table versions of a pipeline version lie this far apart, one a rebuild; pipeline versions are smaller."""


@dataclass(frozen=True)
class Dialect:
    """What one database makes of the braces: words, and functions of what stands behind the word."""

    words: Mapping[str, str]
    functions: Mapping[str, Callable[[str], str]]


@dataclass(frozen=True)
class Merge:
    """How records of one type enter the view's tables."""

    record: str
    key: tuple[str, ...]
    newest: tuple[str, ...]
    columns: Mapping[str, str]
    """Types of the staging table's columns by name, in order."""
    sql: str

    def staging(self, view: str) -> str:
        """Return the name of the staging table."""
        return f"staging_{view}_{self.record.lower()}"


@dataclass(frozen=True)
class Figure:
    """A business figure: the ``SELECT`` of the columns ``labels`` and a value behind them."""

    name: str
    labels: tuple[str, ...]
    help: str
    sql: str


@dataclass(frozen=True)
class View:
    """A parsed view file. Its SQL still has its braces: see :func:`render`."""

    name: str
    about: str
    topics: tuple[Topic, ...]
    tables: Mapping[str, str]
    merges: Mapping[str, Merge]
    reads: Mapping[str, str]
    figures: tuple[Figure, ...]
    indexes: tuple[str, ...] = ()

    @property
    def rules(self) -> str:
        """Digest of all that decides what the tables hold; spaces and comments aside."""
        stages = [f"{m.key}{m.newest}{dict(m.columns)}{m.sql}" for m in self.merges.values()]
        return _digest([*self.tables.values(), *stages, *(topic.name for topic in self.topics)])

    @property
    def shown(self) -> str:
        """Digest of the relations for people."""
        return _digest([f"{name} {sql}" for name, sql in self.reads.items()])


@dataclass
class _Section:
    kind: str
    argument: str
    line: int
    options: dict[str, str]
    text: list[str]


def load_views(folder: Traversable | None = None) -> dict[str, View]:
    """Read all view files, by name. Raises :class:`PenstockError` naming the file and the line that is wrong."""
    root = files("consumers") / "views" if folder is None else folder
    found = sorted((item for item in root.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    views = (parse_view(item.read_text(encoding="utf-8"), item.name) for item in found)
    return {view.name: view for view in views}


def choose_views(views: Mapping[str, View], names: Iterable[str]) -> tuple[View, ...]:
    """Return the views that ``names`` names, each once; without a name, all.

    Raises :class:`UsageError` for a wrong name.
    """
    wanted = sorted(set(names)) or sorted(views)
    for name in wanted:
        if name not in views:
            raise UsageError(f"there is no view {name!r}; the views are {', '.join(sorted(views))}")
    return tuple(views[name] for name in wanted)


def parse_view(text: str, file: str) -> View:
    """Parse the text of the view file called ``file``."""
    heads, sections = _split(text, file)
    name = heads.get("view", "")
    if f"{name}.sql" != file:
        raise PenstockError(f"{file}: must begin with `--: view {file.removesuffix('.sql')}`")
    unknown = [topic for topic in heads.get("reads", "").split() if topic not in BY_NAME]
    if unknown or not heads.get("reads"):
        raise PenstockError(f"{file}: `--: reads` must name topics of {', '.join(BY_NAME)}; it names {unknown}")
    of_kind = {kind: [section for section in sections if section.kind == kind] for kind in _SECTIONS}
    reads = dict(relation for section in sections for relation in _relations(section))
    for kind, found in (("table", of_kind["table"]), ("merge", of_kind["merge"]), ("read", reads)):
        if not found:
            raise PenstockError(f"{file}: has no `--: {kind}`")
    merges = [_merge(section, file) for section in of_kind["merge"]]
    return View(
        name,
        heads.get("about", ""),
        tuple(BY_NAME[topic] for topic in heads["reads"].split()),
        {section.argument: _sql(section) for section in of_kind["table"]},
        {merge.record: merge for merge in merges},
        reads,
        tuple(_figure(section, file) for section in of_kind["gauge"]),
        tuple(_sql(section) for section in of_kind["index"]),
    )


def render(sql: str, view: View, version: int, dialect: Dialect, staging: str = "") -> str:
    """Return ``sql`` with its braces filled: tables get ``version``, ``staging`` is the name of the staging table.

    Raises :class:`PenstockError` for a word that nobody knows.
    """

    def fill(match: re.Match[str]) -> str:
        word, argument = match.groups()
        if argument and word in _REPEATED:
            return _repeated(word, argument)
        if argument and word in dialect.functions:
            return dialect.functions[word](argument)
        if word in view.tables:
            return table_name(word, version)
        if word == "staging" and staging:
            return staging
        if word in dialect.words:
            return dialect.words[word]
        raise PenstockError(f"view {view.name}: {match.group()} stands for nothing")

    return _BRACES.sub(fill, sql)


def _repeated(word: str, text: str) -> str:
    return _REPEATED[word].join(text.replace("#", str(number)) for number in range(len(SLOTS)))


def table_name(table: str, version: int) -> str:
    """Return the physical name of ``table`` of a table version: ``orders_v1``, or of a rebuild ``orders_v1_r2``."""
    return f"{table}_{version_name(version)}"


def version_name(version: int) -> str:
    """Return a table version as names have it: ``v1``, ``v1_r2``."""
    number, pipeline = divmod(version, REBUILDS)
    return f"v{pipeline}_r{number}" if number else f"v{pipeline}"


def _split(text: str, file: str) -> tuple[dict[str, str], list[_Section]]:
    heads: dict[str, str] = {}
    sections: list[_Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _DIRECTIVE.match(line)
        if match is None:
            if sections and not line.lstrip().startswith("--"):
                sections[-1].text.append(line)
            elif line.strip() and not line.lstrip().startswith("--"):
                raise PenstockError(f"{file}:{number}: SQL before the first of {', '.join(_SECTIONS)}")
            continue
        word, argument = match.groups()
        if word in _HEADS and not sections:
            heads[word] = argument
        elif word in _SECTIONS:
            sections.append(_Section(word, argument, number, {}, []))
        elif word in _OF_MERGE and sections and sections[-1].kind == "merge":
            options = sections[-1].options
            options[word] = f"{options[word]}, {argument}" if word in options else argument
        else:
            raise PenstockError(f"{file}:{number}: `--: {word}` is unknown, or not in its place")
    return heads, sections


def _sql(section: _Section) -> str:
    return "\n".join(section.text).strip().removesuffix(";")


def _relations(section: _Section) -> Iterator[tuple[str, str]]:
    """Yield name and ``SELECT`` of the relations for people that a section describes."""
    if section.kind == "read":
        yield section.argument, _sql(section)
    elif section.kind == "windows":
        for suffix, length_ms in WINDOWS_MS.items():
            span = f"window_start - window_start % {length_ms}"
            yield section.argument + suffix, _sql(section).replace("{span}", span)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _merge(section: _Section, file: str) -> Merge:
    pairs = [column.split(None, 1) for column in _words(section.options.get("stage", ""))]
    columns = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    key, newest = _words(section.options.get("key", "")), _words(section.options.get("newest", ""))
    if not key or len(columns) != len(pairs) or not set(key + newest) <= columns.keys():
        raise PenstockError(
            f"{file}:{section.line}: merge {section.argument} needs `--: stage COLUMN TYPE, …` "
            "and a `--: key` of its columns"
        )
    return Merge(section.argument, key, newest, columns, _sql(section))


def _figure(section: _Section, file: str) -> Figure:
    front, colon, text = section.argument.partition(":")
    name, *rest = front.split(None, 1)
    if not colon or not text.strip():
        raise PenstockError(f"{file}:{section.line}: must be `--: gauge NAME LABEL, … : HELP`")
    return Figure(name, _words(" ".join(rest)), text.strip(), _sql(section))


def _digest(texts: Iterable[str]) -> str:
    plain = "\0".join(" ".join(text.split()) for text in texts)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
