"""Real parts on 127.0.0.1, started in seconds: Kafka, a schema registry, Postgres.

Tests and benches use it; it is not installed with Penstock. Each part is a context manager::

    with KafkaBroker() as kafka, Postgres() as postgres:
        run(kafka.bootstrap_servers, postgres.url)

`python -m testbed` starts each part, prints its address and how long it took to be ready.
"""
