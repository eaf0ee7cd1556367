"""Whether a schedule kept the promises: everything that was ever sent, committed or shown, held against the oracle."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from penstock.pipeline import NO_TIME, fingerprint
from penstock.topics import BY_NAME, TOPICS, group_id
from simulation import codec
from simulation.director import Director
from simulation.kafka import Committed, Record, StoredTopic
from simulation.model import AHEAD_MS, DISORDER_MS, PANE_MS, Entry, Told
from simulation.snapshots import Row, Snapshot
from simulation.view_model import Result, tables_of

_OF_RESULT = {"pane_start", "source_topic_id", "source_partition", "next_offset", "final"}


class Judge:
    """Holds one schedule's outcome against what its logs say."""

    def __init__(self, director: Director, *, finished: bool) -> None:
        self._director, self._world, self._finished = director, director.world, finished
        self._plan, self._settings = director.world.plan, director.settings
        self._told = {
            (topic.topic_id, number): self._tell(topic, number)
            for topic in director.sources
            for number in range(len(topic.logs))
        }
        self._metrics = {metric.result: metric for metric in self._plan.metrics}

    def _tell(self, topic: StoredTopic, number: int) -> Told:
        entries = []
        for record in topic.logs[number].records:
            operation = topic.told[number, record.offset]
            entries.append(
                Entry(record.offset, record.appended_ms, operation.record, operation.event, operation.value or b"")
            )
        torn = self._plan.born_trimmed if topic is self._director.sources[0] and number < self._plan.partitions else 0
        newest = NO_TIME
        if torn and entries:
            newest = -(-(entries[0].appended_ms + AHEAD_MS) // PANE_MS) * PANE_MS + DISORDER_MS
        return Told(entries, torn, newest)

    def violations(self) -> list[str]:
        """Return what differs, in sentences; nothing if all is right."""
        found = [*self._stops(), *self._commits(), *self._results(), *self._probes(), *self._letters()]
        for snapshot in self._director.snapshots:
            found += self._snapshot(snapshot)
        if self._finished and self._director.snapshots:
            found += self._end_of_views(self._director.snapshots[-1])
        return list(dict.fromkeys(found))

    # Stops

    def _stops(self) -> Iterator[str]:
        trimmed = any(log.start > self._plan.born_trimmed for topic in self._director.sources for log in topic.logs)
        recreated = len(self._director.sources) > 1
        if self._world.stops and not trimmed and not recreated:
            yield f"{self._world.stops[0].actor} stopped, and nothing was lost: {self._world.stops[0].why}"
        if self._director.must_stop and not self._world.stops:
            yield f"nobody stopped, though {self._director.must_stop}"

    # Commits

    def _commits(self) -> Iterator[str]:
        group = group_id(self._settings, "processors")
        for name, commit in self._world.broker.accepted:
            if name == group:
                yield from self._commit(commit)

    def _commit(self, commit: Committed) -> Iterator[str]:
        frontier = json.JSONDecoder().raw_decode(commit.metadata)[0] if commit.metadata else {}
        told = self._told.get((frontier.get("topic_id", ""), commit.partition[1]))
        where = f"commit of {commit.partition} at {commit.offset}"
        if told is None:
            yield f"{where} has no frontier of a known topic: {commit.metadata!r}"
            return
        position = frontier["position"]
        expected = {
            "topic_id": frontier["topic_id"], "start": told.start, "position": position,
            "newest_ms": told.newest_at(position), "fingerprint": fingerprint(),
            "fates": {fate: told.counts_at(position)[fate] for fate in frontier["fates"]},
        }  # fmt: skip
        if frontier != expected:
            yield f"{where}: the frontier is {frontier}, it must be {expected}"
        if sum(frontier["fates"].values()) != position - frontier["start"]:
            yield f"{where}: the books are out of balance: {frontier}"
        if commit.offset != told.restart_offset(position):
            yield f"{where} with P = {position}: R must be {told.restart_offset(position)}"

    # Results and letters

    def _read(self, role: str) -> Iterator[tuple[str, Record, str, Mapping[str, Any]]]:
        for topic in TOPICS:
            if topic.role == role:
                for log in self._world.broker.topics[topic.full_name(self._settings)].logs:
                    for record in log.records:
                        yield topic.name, record, *codec.read(record.value or b"")

    @cached_property
    def _sent(self) -> list[tuple[str, Record, str, Mapping[str, Any]]]:
        return list(self._read("results"))

    def _results(self) -> Iterator[str]:
        asked = defaultdict(list)
        for topic, _, record, fields in self._sent:
            place = fields["source_topic_id"], fields["source_partition"]
            if place not in self._told:
                yield f"a result on {topic} is of topic id and partition {place}, which never were"
                continue
            asked[place, fields["next_offset"]].append((topic, record, fields))
        final: set[Any] = set()
        for (place, position), results in asked.items():
            panes = {fields["pane_start"] for _, _, fields in results}
            rows = self._told[place].rows_at(self._plan.metrics, position, panes)
            for topic, record, fields in results:
                yield from self._result(place, topic, record, fields, rows)
                if fields["final"]:
                    final.add((*place, self._key(record, fields)))
        if self._finished:
            yield from self._missing_results(final)

    def _key(self, record: str, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        metric = self._metrics[record]
        return (metric.name, fields["pane_start"], *(fields[name] for name in metric.group))

    def _result(
        self, place: tuple[str, int], topic: str, record: str, fields: Mapping[str, Any], rows: Mapping[Any, Any]
    ) -> Iterator[str]:
        told, position, key = self._told[place], fields["next_offset"], self._key(record, fields)
        group = self._metrics[record].group
        measured = {name: value for name, value in fields.items() if name not in _OF_RESULT and name not in group}
        kind = "final" if fields["final"] else "early"
        if measured != rows.get(key):
            yield f"{kind} result {key} of {place} at offset {position} is {measured}, it must be {rows.get(key)}"
        if fields["final"] != told.is_closed(fields["pane_start"], position):
            yield f"{kind} result {key} of {place} at offset {position}: its pane was not {kind} there"
        if fields["final"] != topic.endswith("-final"):
            yield f"{kind} result {key} stands on {topic}"

    def _missing_results(self, final: set[Any]) -> Iterator[str]:
        topic = self._director.sources[-1]
        for number, log in enumerate(topic.logs):
            expected = self._told[topic.topic_id, number].rows_at(self._plan.metrics, log.end)
            for key in expected:
                if (topic.topic_id, number, key) not in final:
                    yield f"there is no final result {key} of {(topic.topic_id, number)}"

    def _probes(self) -> Iterator[str]:
        """A probe that is passed on was sent, and stands below the offset that it speaks for."""
        for _, _, _, fields in self._read("probes"):
            place, position = (fields["source_topic_id"], fields["source_partition"]), fields["next_offset"]
            beats = (e for e in self._told[place].entries if e.record == "Heartbeat" and e.offset < position)
            if fields["sent_at"] not in {min(e.event["sent_at"], e.appended_ms) for e in beats if e.event}:
                yield f"a probe of {place} at offset {position} was sent at {fields['sent_at']}, which none was"

    @cached_property
    def _kept(self) -> list[tuple[str, Record, str, Mapping[str, Any]]]:
        return list(self._read("letters"))

    def _letters(self) -> Iterator[str]:
        seen: dict[str, set[tuple[str, int, int]]] = {"late": set(), "dead": set()}
        for topic, _, _, fields in self._kept:
            fate = "late" if topic == "late-events" else "dead"
            place = fields["source_topic_id"], fields["source_partition"]
            told, offset = self._told.get(place), fields["source_offset"]
            seen[fate].add((*place, offset))
            if told is None or told.fates.get(offset) != fate:
                was = told and told.fates.get(offset)
                yield f"{place} offset {offset} is kept as {fate}, it was {was}"
                continue
            entry = next(entry for entry in told.entries if entry.offset == offset)
            if (fields["value"] or b"", fields["appended_at"]) != (entry.value[: codec.MAX_BYTES], entry.appended_ms):
                yield f"{place} offset {offset} is kept as {fields['value']!r}, it was {entry.value!r}"
            if fate == "late" and fields["watermark"] != told.newest_at(offset) - DISORDER_MS:
                yield f"{place} offset {offset} is kept with watermark {fields['watermark']}"
        if self._finished:
            topic_id = self._director.sources[-1].topic_id
            for fate, found in seen.items():
                for (owner, number), told in self._told.items():
                    missing = told.offsets(fate) - {o for t, n, o in found if (t, n) == (owner, number)}
                    if owner == topic_id and missing:
                        yield f"{(owner, number)}: the {fate} records at {sorted(missing)} are not kept"

    # Views

    def _snapshot(self, snapshot: Snapshot) -> Iterator[str]:
        """A view is what its offsets say: the records below them, all of them and no others."""
        views = {view for view, _, _ in snapshot.offsets}
        for view in views & set(self._plan.views):
            entries, results = self._below(view, snapshot)
            for table, expected in tables_of(view, entries, results).items():
                yield from _differences(table, snapshot.tables[table], expected)

    def _below(self, view: str, snapshot: Snapshot) -> tuple[list[Entry], list[Result]]:
        entries: list[Entry] = []
        results: list[Result] = []
        of_view = sorted(item for item in snapshot.offsets.items() if item[0][0] == view)
        for (_, topic, number), (topic_id, end) in of_view:
            if BY_NAME[topic].role == "source":
                entries += [entry for entry in self._told[topic_id, number].entries if entry.offset < end]
                continue
            known = self._sent if BY_NAME[topic].role == "results" else self._kept
            results += [
                (topic.removesuffix("-final"), kind, fields)
                for where, record, kind, fields in known
                if where == topic and record.offset < end and record.message.partition() == number
            ]
        return entries, results

    def _end_of_views(self, snapshot: Snapshot) -> Iterator[str]:
        """All that was sent is in the views, and what is in them is final and whole."""
        for (view, topic, number), (_, end) in snapshot.offsets.items():
            log = self._world.broker.topics[BY_NAME[topic].full_name(self._settings)].logs[number]
            if end != log.end and view in self._plan.views:
                yield f"view {view} has merged {topic}[{number}] up to {end}, its end is {log.end}"
        for view in self._plan.views:
            metric = next((m for m in self._plan.metrics if m.name == view), None)
            if metric is not None:
                expected = self._whole(metric.name)
                found = {tuple(pair for pair in row if pair[0] != "next_offset") for row in snapshot.tables[view]}
                yield from _differences(view, found, expected)

    def _whole(self, name: str) -> set[Row]:
        metric = next(metric for metric in self._plan.metrics if metric.name == name)
        rows = set()
        topic = self._director.sources[-1]
        for number, log in enumerate(topic.logs):
            for key, row in self._told[topic.topic_id, number].rows_at([metric], log.end).items():
                group = dict(zip(metric.group, key[2:], strict=True))
                place = {"window_start": key[1], "source_partition": number, "final": 1}
                rows.add(tuple(sorted({**place, **group, **row}.items())))
        return rows


def _differences(table: str, found: Iterable[Row], expected: Iterable[Row]) -> Iterator[str]:
    have, want = set(found), set(expected)
    for row in sorted(have - want, key=str)[:3]:
        yield f"table {table} has {dict(row)}, which is not what its offsets say"
    for row in sorted(want - have, key=str)[:3]:
        yield f"table {table} lacks {dict(row)}"
