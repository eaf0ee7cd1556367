"""``penstock explain``: the events behind one number, and their sum beside the view's."""

import time
from contextlib import closing

from penstock.progress import Progress, Silent
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.waiting import wait_for
from referee.cut import CutReader
from referee.explain_context import Context
from referee.explain_entity import explain_entity
from referee.explain_letter import explain_letter
from referee.explain_metric import explain_metric
from referee.explain_question import EntityQuestion, MetricQuestion, Question
from referee.explanation import Explanation
from referee.letters import LETTERS
from referee.log_reader import LogReader
from referee.scope import Scope
from referee.verify import snapshot_behind


def explain(
    settings: Settings, ids: SchemaIds, asked: Question, timeout_s: float, progress: Progress | None = None
) -> Explanation:
    """Return the events behind what is asked for, at a consistent cut; works while the pipeline runs.

    Raises UsageError for a key that neither the log nor the view has, GaveUpWaiting when within ``timeout_s`` a part
    did not answer or the views did not get as far as the processors have committed, ProtectiveStop when a topic was
    recreated or the configuration is another.
    """
    deadline = time.monotonic() + timeout_s
    with closing(CutReader(settings)) as reader:
        cut = wait_for("the processors' commits", reader.read, timeout_s=timeout_s)
    # The letters of a window stand beside its metric: late events belong to it, and add nothing.
    views = {asked.table.view, *(each.view for each in LETTERS)} if isinstance(asked, MetricQuestion) else {asked.view}
    scope = Scope(frozenset(views))
    left_s = max(0.1, deadline - time.monotonic())
    with (
        closing(wait_for("the views", lambda: snapshot_behind(settings, cut, scope), timeout_s=left_s)) as snapshot,
        closing(LogReader(settings, patience_s=max(timeout_s, 1.0))) as log_reader,
    ):
        context = Context(settings, ids, cut, snapshot, log_reader, progress or Silent())
        if isinstance(asked, MetricQuestion):
            return explain_metric(asked, context)
        if isinstance(asked, EntityQuestion):
            return explain_entity(asked, context)
        return explain_letter(asked, context)
