"""Measuring ``penstock produce``: as fast as it goes, with faults injected and the truth kept.

The clock and the CPU are read from when the broker appended the first record until it appended the last.
"""

import json

from bench.answers import WrongAnswerError, ends, read_all, reader
from bench.bed import PENSTOCK, Bed, new_prefix
from bench.report import Figure
from penstock.topics import BY_NAME

FAULTS = ("--disorder", "5s", "--duplicates", "1%", "--late", "1%", "--poison", "0.1%")


def measure(bed: Bed, job: str, count: int) -> Figure:
    """Produce ``count`` events of a model; return the figure once the topic holds what the producer says it sent."""
    prefix = new_prefix("produce")
    bed.create_topics(prefix)
    truth_path = bed.folder / f"truth-{job}.json"
    arguments = ["produce", job, "--count", str(count), "--seed", "1", "--truth", str(truth_path), *FAULTS]
    with bed.watch(f"produce-{job}", [*PENSTOCK, *arguments], bed.environment(prefix)) as watched:
        code = watched.wait()
    if code:
        raise RuntimeError(f"penstock produce ended with {code}")
    told = json.loads(truth_path.read_text())["topics"][job]
    settings = bed.settings(prefix)
    topic = BY_NAME[job].full_name(settings)
    consumer = reader(settings)
    there = sum(ends(consumer, topic).values())
    consumer.close()
    if not there == told["sent"] == told["acknowledged"]:
        raise WrongAnswerError(f"produce {job}: it says it sent {told['sent']}, the topic holds {there}")
    appended = sorted(read_all(settings, topic).appended_ms)
    begin, end = appended[0] / 1_000, appended[-1] / 1_000
    cpu, rss = watched.cpu_between(begin, end), watched.peak_rss_bytes() / 2**20
    return Figure(f"produce {job}", "with faults and truth", there, end - begin, cpu, rss, " ".join(FAULTS))


