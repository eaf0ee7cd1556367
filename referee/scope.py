"""What a verification is asked for: which views, and from when on."""

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.pipeline import PANE_MS
from referee.entities import ENTITIES, Entity
from referee.letters import LETTERS, Letters
from referee.metric_tables import TABLES, MetricTable

VIEWS = tuple(
    dict.fromkeys(
        [table.view for table in TABLES] + [entity.view for entity in ENTITIES] + [each.view for each in LETTERS]
    )
)
"""The names of all views."""


@dataclass(frozen=True)
class Scope:
    """``views`` are names (None: all). ``since_ms``: panes that start before it, and events, are left out (None: none).

    Raises UsageError for a name that no view has.
    """

    views: frozenset[str] | None = None
    since_ms: int | None = None

    def __post_init__(self) -> None:
        for name in sorted((self.views or frozenset()).difference(VIEWS)):
            raise UsageError(f"--view: there is no view {name!r}; there are {', '.join(VIEWS)}")

    def has(self, view: str) -> bool:
        """Return whether a view is asked for."""
        return self.views is None or view in self.views

    @property
    def whole_from_ms(self) -> int | None:
        """Return the start of the first pane that is asked for."""
        return None if self.since_ms is None else -(-self.since_ms // PANE_MS) * PANE_MS

    @property
    def tables(self) -> list[MetricTable]:
        """The tables of metrics that are asked for."""
        return [table for table in TABLES if self.has(table.view)]

    @property
    def entities(self) -> list[Entity]:
        """The tables of entities that are asked for."""
        return [entity for entity in ENTITIES if self.has(entity.view)]

    @property
    def letters(self) -> list[Letters]:
        """The views of letters that are asked for."""
        return [letters for letters in LETTERS if self.has(letters.view)]

    def reads(self, topic: str) -> bool:
        """Return whether the views that are asked for need a source topic."""
        own = any(table.metric.topic == topic for table in self.tables)
        return own or any(entity.topic == topic for entity in self.entities) or bool(self.letters)
