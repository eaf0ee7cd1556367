"""Freshness probes: heartbeats that say when they were sent. Pure.

They are control records like any heartbeat. The newest of a partition is passed on once the results of all before it
were sent, so that the views can tell how old what they show is.
"""

from penstock.avro import INDEX
from processors.fates import HEARTBEAT
from processors.fold import Records

SENT_AT = "sent_at"


def newest_probe(records: Records) -> int | None:
    """Return when the newest probe of a stretch was sent, in ms; None without one.

    What a producer's clock says counts up to the record's append time: a clock that is ahead must not make old
    numbers look fresh.
    """
    beats = records.decoded.records.get(HEARTBEAT)
    if beats is None:
        return None
    probes = beats[[INDEX, SENT_AT]].drop_nulls()
    return max((min(sent_at, records.appended_ms[index]) for index, sent_at in probes.iter_rows()), default=None)
