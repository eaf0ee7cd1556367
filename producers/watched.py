"""Sources that tell how far a run is."""

from collections.abc import Sequence
from dataclasses import replace

from penstock.progress import Progress
from producers.rows import Rows
from producers.run import Feed
from producers.sources import Source


def watched(feeds: Sequence[Feed], progress: Progress) -> list[Feed]:
    """Return ``feeds`` that tell ``progress`` each event they give; unchanged where nobody knows how many there are."""
    expected = [count for count in (feed.source.expected for feed in feeds) if count is not None]
    if len(expected) < len(feeds):
        return list(feeds)
    progress.begin(sum(expected))
    return [replace(feed, source=_Watched(feed.source, progress, feed.topic)) for feed in feeds]


class _Watched:
    def __init__(self, source: Source, progress: Progress, topic: str) -> None:
        self._source = source
        self._progress = progress
        self._topic = topic

    @property
    def finished(self) -> bool:
        """See :class:`Source`."""
        return self._source.finished

    @property
    def expected(self) -> int | None:
        """See :class:`Source`."""
        return self._source.expected

    def take(self, until: int | None, limit: int) -> Rows:
        """See :class:`Source`."""
        rows = self._source.take(until, limit)
        self._progress.advance(len(rows), self._topic)
        return rows

    def delay(self, by_ms: int) -> None:
        """See :class:`Source`."""
        self._source.delay(by_ms)
