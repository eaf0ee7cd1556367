"""What happens to the world: events are appended, machines, brokers and databases fail, and in the end all is well."""

import sqlite3
from contextlib import closing
from pathlib import Path

from penstock.settings import Settings
from penstock.topics import BY_NAME, group_id
from simulation.actors import Keeper, Processor
from simulation.events import Operation, encode, probe
from simulation.kafka import StoredTopic
from simulation.model import AHEAD_MS, PANE_MS
from simulation.snapshots import Snapshot, offsets_of, take
from simulation.stand_ins import decoder_of
from simulation.world import World

CALM_TURNS = 1_000
"""Looks by which all must be done once nothing fails any more."""

LOOK_EVERY = 8
_SAFE_TRIMS = "log trimmed"


class Director:
    """Drives a schedule from its first event to its end."""

    def __init__(self, world: World, settings: Settings, database: Path) -> None:
        self.world, self.settings, self.database = world, settings, database
        plan, broker = world.plan, world.broker
        for topic in BY_NAME.values():
            broker.create(topic.full_name(settings), plan.partitions if topic.name == plan.topic else 2)
        self.source = BY_NAME[plan.topic].full_name(settings)
        self.sources: list[StoredTopic] = [broker.topics[self.source]]
        self.snapshots: list[Snapshot] = []
        self.ended = ""
        self.must_stop = ""
        """Why somebody must stop, once all were started again; empty if nobody need."""

        self._pending = list(plan.operations)
        self._backup: sqlite3.Connection | None = None
        learn = getattr(decoder_of(world, plan.topic), "learn", None)
        if learn is not None:
            learn(operation.value for operation in plan.operations)
        for log in self.sources[0].logs:
            log.start = log.end = plan.born_trimmed

    def run(self) -> None:
        """Run the schedule; what went wrong is in :attr:`World.broken`."""
        world = self.world
        while self._pending and not world.ending:
            world.pause("director")
            if world.rng.random() < world.plan.appending:
                for operation in self._take(world.rng.randint(1, 3)):
                    self._append(operation)
            self._fail_something()
            if world.rng.random() < 0.01:
                self.look()
        for _ in range(world.rng.randint(0, 60)):
            world.pause("director")
            self._fail_something()
        self._calm_down()

    def look(self) -> None:
        """Take a snapshot of the views, as somebody who reads them."""
        found = take(self.database, self.world.plan.views)
        if found is not None:
            self.snapshots.append(found)

    def _take(self, count: int) -> list[Operation]:
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _append(self, operation: Operation) -> None:
        broker = self.world.broker
        broker.clock_ms = max(broker.clock_ms, operation.at_ms)
        place = self.source, min(operation.partition, broker.count(self.source) - 1)
        offset = broker.append(place, operation.key, operation.value, operation.gap)
        broker.topics[self.source].told[place[1], offset] = operation
        self.world.note(f"     append {place[0]}[{place[1]}] offset {offset}: {operation.record} {operation.event}")

    # Faults

    def _fail_something(self) -> None:
        world, rng, broker = self.world, self.world.rng, self.world.broker
        broker.away = broker.away and rng.random() < 0.8
        if world.chance("rebalance", "group"):
            groups = [name for name, group in broker.groups.items() if group.members]
            if groups:
                broker.rebalance(rng.choice(groups))
        self._evict()
        if world.chance("broker away", "broker"):
            broker.away = True
        if world.chance("registry away", "registry"):
            world.registry_away_until = world.turns + rng.randint(5, 60)
        if world.chance("database away", "database"):
            world.database_away_until = world.turns + rng.randint(5, 60)
        if world.chance("backup restored", "database"):
            self._restore()
        self._change_topics()

    def _evict(self) -> None:
        """Throw those out of their groups that sleep, or are no more."""
        for name, group in self.world.broker.groups.items():
            silent = sorted(set(group.members) - self._answering())
            for member in silent:
                if self.world.calm or self.world.chance("evict", name):
                    self.world.broker.leave(name, member)

    def _answering(self) -> set[int]:
        return {actor.member for actor in self.world.actors if actor.wake_at <= self.world.turns}

    def _restore(self) -> None:
        """Bring the database back to what it was at an earlier call; keep what it is now for the next."""
        if self.world.writer is not None or not self.database.exists():
            return
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        with closing(sqlite3.connect(self.database, timeout=0)) as live:
            live.backup(kept)
            if self._backup is not None:
                self._backup.backup(live)
                self._backup.close()
                self.world.counts["database set back"] += 1
                self.world.note("---- the database is set back")
        self._backup = kept

    def _change_topics(self) -> None:
        world, broker = self.world, self.world.broker
        if world.chance("partitions grow", "topic") and broker.count(self.source) == world.plan.partitions:
            broker.grow(self.source)
            for name in list(broker.groups):
                if broker.groups[name].members:
                    broker.rebalance(name)
        if world.chance(_SAFE_TRIMS, "log"):
            self._trim(world.rng.choice((0.5, 1.0)))
        if world.chance("log trimmed past a need", "log"):
            self._trim(2.0)
        if len(self.sources) == 1 and world.chance("topic recreated", "topic"):
            self.sources.append(broker.create(self.source, world.plan.partitions))

    def _trim(self, share: float) -> None:
        """Delete records up to ``share`` of what is no longer needed; above 1 needed ones too."""
        needs = self.needs()
        for number, log in enumerate(self.world.broker.topics[self.source].logs):
            free = needs.get(number, 0) - log.start
            to = log.start + int(free * share) if share <= 1 else self.world.rng.randint(log.start, log.end)
            log.start = max(log.start, min(to, log.end))

    def needs(self) -> dict[int, int]:
        """Return the offset of each source partition that somebody may still have to read from.

        Where a trimmed log is accepted, that counts the backup: set back to it, the views would miss what went, rightly
        and with a warning only. Elsewhere they stop, and the judge wants to see it.
        """
        commits = self.world.broker.group(group_id(self.settings, "processors")).commits
        found = dict.fromkeys(range(self.world.broker.count(self.source)), 0)
        found |= {partition[1]: commit.offset for partition, commit in commits.items() if partition[0] == self.source}
        for number, offset in self._merged().items():
            found[number] = min(found.get(number, 0), offset)
        return found

    def _merged(self) -> dict[int, int]:
        """Return how far the views that read the source have merged it, by partition."""
        reader = next((view for view in self.world.plan.views if view in ("orders", "devices")), None)
        if reader is None:
            return {}
        found = take(self.database, ())
        held = [{} if found is None else found.offsets]
        if self.world.plan.born_trimmed and self._backup is not None:
            held.append(offsets_of(self._backup))
        return {
            number: min(offsets.get((reader, self.world.plan.topic, number), ("", 0))[1] for offsets in held)
            for number in range(self.world.broker.count(self.source))
        }

    # The end

    def _calm_down(self) -> None:
        """Let nothing fail any more, close all panes, and wait until all is settled."""
        world, broker = self.world, self.world.broker
        world.calm, broker.away = True, False
        world.registry_away_until = world.database_away_until = 0
        for actor in world.actors:
            actor.wake_at = 0
            actor.doomed = world.plan.restart_all
        for _ in range(20):
            world.pause("director")
        self._evict()
        world.network.deliver_all()
        if world.plan.restart_all:
            self.must_stop = self._lost()
        self._close_panes()
        for _ in range(CALM_TURNS):
            for _ in range(LOOK_EVERY):
                world.pause("director")
            world.network.deliver_some()
            if world.ending:
                return
            if self._stopped() or not self._unsettled():
                self.ended = "stopped" if self._stopped() else "settled"
                return
            self._evict()
        world.broken = f"not settled after {CALM_TURNS} looks: {self._unsettled()}"

    def _stopped(self) -> bool:
        """Say if the end of this schedule is that somebody stopped, and stays so."""
        stopped = any(stop.calm for stop in self.world.stops)
        return stopped and (len(self.sources) > 1 or self._lost() != "")

    def _lost(self) -> str:
        """Return which offset is needed and gone; nothing if none is."""
        commits = self.world.broker.group(group_id(self.settings, "processors")).commits
        logs = self.world.broker.topics[self.source].logs
        for number, log in enumerate(logs):
            commit = commits.get((self.source, number))
            if log.start > (self.world.plan.born_trimmed if commit is None else commit.offset):
                return f"partition {number} is committed at {commit and commit.offset}, its log begins at {log.start}"
        for number, merged in self._merged().items():
            if merged < logs[number].start > self.world.plan.born_trimmed:
                return f"a view has merged partition {number} up to {merged}, its log begins at {logs[number].start}"
        return ""

    def _close_panes(self) -> None:
        broker = self.world.broker
        broker.clock_ms += 2 * AHEAD_MS + 2 * PANE_MS
        for number in range(broker.count(self.source)):
            event = probe(999, broker.clock_ms, broker.clock_ms)
            value = encode("Heartbeat", self.world.plan.topic, event)
            self._append(Operation(number, broker.clock_ms, "Heartbeat", event, None, value))

    def _unsettled(self) -> str:
        """Return what is not done yet; nothing if all is."""
        world = self.world
        if world.network.in_flight():
            return "messages are in flight"
        if any(member.untold for group in world.broker.groups.values() for member in group.members.values()):
            return "a rebalance is under way"
        waiting = [actor.name for actor in world.actors if isinstance(actor, Processor) and not actor.settled()]
        if waiting:
            return f"{waiting} are not settled"
        places = [(self.source, number) for number in range(world.broker.count(self.source))]
        owned = sorted(place for actor in world.actors if isinstance(actor, Processor) for place in actor.owned())
        if owned != places:
            return f"{owned} are owned of {places}"
        behind = [actor.name for actor in world.actors if isinstance(actor, Keeper) and not actor.caught_up()]
        if behind:
            return f"{behind} are behind"
        found = take(self.database, ())
        return "" if found is not None and self._views_are_at_the_end(found) else "the views are behind"

    def _views_are_at_the_end(self, found: Snapshot) -> bool:
        logs = {topic: self.world.broker.topics[BY_NAME[topic].full_name(self.settings)].logs for topic in BY_NAME}
        return all(
            end == logs[topic][number].end
            for (view, topic, number), (_, end) in found.offsets.items()
            if view in self.world.plan.views
        )
