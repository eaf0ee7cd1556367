"""Databases that are away, locked, full, slow, silent at the wrong moment, or older than they were."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import psycopg
from psycopg import sql

from chaos.parts import own_postgres, says_it_waits, start_stages, through
from chaos.rig import Rig
from chaos.scenario import scenario
from chaos.small_disk import SmallDisk
from testbed.proxy import PostgresProxy

LONGER_THAN_A_LOCK_IS_AWAITED_S = 6.0
BACKLOG = 1_000_000
BACKLOG_DEADLINE_S = 150.0
SLOW_ANSWER_S = 0.25
"""Added to each answer of the slow sink: a batch has a dozen."""


@scenario(
    "postgres-away", kind="database",
    fault="Postgres is stopped, killed, and locked by somebody",
    database="postgres",
)
def postgres_away(rig: Rig, rng: Random) -> None:
    """The views say so, answer the broker meanwhile, and go on."""
    with own_postgres(rig) as postgres:
        start_stages(rig)
        for number in rig.rounds(3):
            rig.wait(rng.uniform(0, 1))
            if number % 3 == 2:
                hold_lock(rig, LONGER_THAN_A_LOCK_IS_AWAITED_S)
                rig.recovered(what="lock given back")
                continue
            (postgres.kill if number % 3 else postgres.stop)()
            rig.fault(part_kills=number % 3)
            says_it_waits(rig, "materialize-1", "database")
            rig.wait(rng.uniform(0, 1))
            postgres.start()
            rig.recovered(what="Postgres killed" if number % 3 else "Postgres stopped")
        rig.finish()


def hold_lock(rig: Rig, seconds: float) -> None:
    """Lock the offsets against all others for a while."""
    with psycopg.connect(rig.pipeline.database_url) as connection:
        connection.execute("LOCK TABLE offsets IN ACCESS EXCLUSIVE MODE")
        rig.fault()
        says_it_waits(rig, "materialize-1", "database")
        rig.wait(seconds)


@scenario(
    "reply-lost", kind="database",
    fault="connections cut at COMMIT, the reply lost, and at any other moment",
    database="postgres",
)
def reply_lost(rig: Rig, rng: Random) -> None:
    """The views can't know if a batch is in, and find out by the stored offset: the compare-and-set fences it."""
    with PostgresProxy(rig.shared.postgres.port) as proxy:
        rig.use(DATABASE_URL=through(rig.shared.postgres.port, rig.pipeline.database_url, proxy.port))
        start_stages(rig)
        for number in rig.rounds(6):
            if number % 3 == 2:
                rig.wait(rng.uniform(0, 0.5))
                rig.fault(proxy.cut())
                continue
            proxy.cut_at_commit()
            rig.wait_for(lambda: not proxy.commits_to_cut, "a COMMIT")
            rig.fault()
        rig.recovered(what="replies lost")
        assert "fenced: the offset was moved" in rig.stage("materialize-1").log
        rig.finish()


@scenario("disk-full", kind="database", fault="no room left on the disk of the views", database="sqlite")
def disk_full(rig: Rig, rng: Random) -> None:
    """Nothing of a batch that did not fit is kept; with room again the views go on."""
    with SmallDisk(rig.folder / "disk") as disk:
        database = disk.path / "views.db"
        rig.use(database_url=f"sqlite:///{database}")
        start_stages(rig)
        for number in rig.rounds(2):
            disk.fill(database, rig.stage("materialize-1").child.pid)
            rig.fault()
            says_it_waits(rig, "materialize-1", "database")
            if number == 1:
                rig.crew.kill("materialize-1")  # the next life begins on a full disk
            rig.wait(rng.uniform(0, 1))
            disk.empty()
            rig.recovered(what="disk full")
        rig.finish()


@scenario("slow-sink", kind="database", fault=f"a slow database and a backlog of {BACKLOG:,}", database="postgres")
def slow_sink(rig: Rig, rng: Random) -> None:
    """The views fall behind, keep their membership, and catch up."""
    with PostgresProxy(rig.shared.postgres.port) as proxy:
        rig.use(DATABASE_URL=through(rig.shared.postgres.port, rig.pipeline.database_url, proxy.port))
        rig.begin()
        for name in (*rig.start("process"), *rig.start("materialize")):
            rig.stage(name).until_ready()
        proxy.delay_s = SLOW_ANSWER_S
        rig.fault()
        faults = ("--disorder", "4s", "--duplicates", "5%", "--late", "5%")
        seed = str(rng.randrange(1 << 31))
        rig.send("produce", "telemetry", "--count", str(BACKLOG), "--duration", "20m", "--seed", seed, *faults)
        rig.recovered(BACKLOG_DEADLINE_S, "backlog of processors", sides=("processors",))
        behind = sum(rig.gauge.ends(sources_only=True).values()) - sum(
            merged for (topic, _), merged in rig.gauge.merged().items() if topic.endswith("telemetry")
        )
        assert behind > BACKLOG * 0.9, f"the sink was not slow: only {behind:,} records behind"
        for _ in rig.rounds(1):
            proxy.delay_s = 0.0
            rig.recovered(BACKLOG_DEADLINE_S, f"backlog of {BACKLOG:,}", sides=("consumers",))
        rig.finish()


@scenario(
    "backup-restored-sqlite", kind="database",
    fault="the database file replaced by an older backup",
    database="sqlite",
)
def backup_restored_sqlite(rig: Rig, rng: Random) -> None:
    """Rows and offsets are of one moment, so the views read on from there. The views are away meanwhile."""
    start_stages(rig)
    database = Path(rig.pipeline.database_url.removeprefix("sqlite:///"))
    for _ in rig.rounds(1):
        backup = database.with_suffix(".backup")
        with closing(sqlite3.connect(database, timeout=30.0)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        rig.wait(rng.uniform(1, 3))
        rig.leave("materialize-1")
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        shutil.move(backup, database)
        rig.fault()
        rig.start("materialize")
        rig.recovered(what="backup restored")
    rig.finish()


@scenario(
    "backup-restored-postgres", kind="database",
    fault="tables put back as a backup has them, under views that run",
    database="postgres",
)
def backup_restored_postgres(rig: Rig, rng: Random) -> None:
    """The views run on meanwhile: their next step is fenced by the older offsets, and they go back to them."""
    start_stages(rig)
    for number in rig.rounds(2):
        keep_backup(rig.pipeline.database_url, f"backup_{number}")
        rig.wait(rng.uniform(1, 3))
        restore_backup(rig.pipeline.database_url, f"backup_{number}")
        rig.fault()
        rig.recovered(what="backup restored")
    assert "fenced: the offset was moved" in rig.stage("materialize-1").log
    rig.finish()


def keep_backup(url: str, schema: str) -> None:
    """Copy all tables of the views, as they are at one moment, to a schema of their own."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for table in tables_of(connection):
            copy = sql.SQL("CREATE TABLE {} AS TABLE {}")
            connection.execute(copy.format(sql.Identifier(schema, table), sql.Identifier("public", table)))


def restore_backup(url: str, schema: str) -> None:
    """Put all tables back as they were, at once: nobody sees a part of it."""
    with psycopg.connect(url) as connection:
        # The offsets first, as the views do: so nobody waits for somebody who waits.
        connection.execute("LOCK TABLE offsets IN ACCESS EXCLUSIVE MODE")
        for table in tables_of(connection):
            live, kept = sql.Identifier("public", table), sql.Identifier(schema, table)
            connection.execute(sql.SQL("DELETE FROM {}").format(live))
            connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(live, kept))


def tables_of(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """Return the tables of the views."""
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [str(name) for (name,) in found.fetchall()]
