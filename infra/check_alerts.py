"""What somebody on call relies on: dashboards that answer, silence while all is well, else the right alert."""

from collections.abc import Callable, Mapping

from infra.checking import CheckError, say, step, until
from infra.compose_stack import Stack
from infra.grafana.build import BOARDS
from infra.grafana.queries import Asked, queries
from infra.written import Stage, stages

ANSWERED_DEADLINE_S = 180
FIRES_DEADLINE_S = 420
CLEARS_DEADLINE_S = 420
RATE_INTERVAL = "20s"
"""What Grafana makes of ``$__rate_interval``: four times the scrape interval."""

WHO_IS_DOWN = ("StageDown", "StageMissing")

SETTLING_S = 120
"""After so long a stage that was slow to start is no longer taken for one that is down."""

BUDGETS = ("FreshnessBudgetBurnsFast", "FreshnessBudgetBurns")
"""They remember: an outage of a minute is much of the life of a stack that is minutes old."""


def check_dashboards(stack: Stack) -> None:
    """Grafana has all dashboards, and Prometheus an answer to every query on them."""
    wanted = {board.uid for board in BOARDS}
    until("Grafana has all dashboards", stack.dashboards, wanted.__le__, 60)
    unanswered = queries(RATE_INTERVAL)
    count = len(unanswered)

    def ask() -> list[Asked]:
        unanswered[:] = [asked for asked in unanswered if not stack.has_answer(asked.expression)]
        return unanswered

    until(f"all {count} queries of the dashboards have an answer", ask, lambda left: not left, ANSWERED_DEADLINE_S)


def check_rules(stack: Stack) -> None:
    """Prometheus has loaded rules, none of them fails, and no alert fires."""
    groups = stack.prometheus("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]
    alerting = [rule["name"] for rule in rules if rule["type"] == "alerting"]
    if broken or not alerting:
        raise CheckError(f"Prometheus has {len(alerting)} alert rules; broken: {broken}")
    say(f"{len(alerting)} alert rules and {len(rules) - len(alerting)} recording rules are loaded")
    check_silence(stack)


def check_silence(stack: Stack) -> None:
    """No alert has fired since the stack had settled. Raises :class:`CheckError` naming those that did."""
    until("no alert fires", stack.firing, _is_silent, SETTLING_S)
    window_s = max(round(stack.up_s - SETTLING_S), 15)
    expression = f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{window_s}s]))'
    fired = {series["metric"]["alertname"] for series in stack.prometheus("query", query=expression)["result"]}
    if fired - {*BUDGETS}:
        raise CheckError(f"all is well, and yet there fired {', '.join(sorted(fired))}")
    say(f"no alert has fired in the last {window_s} s{f', but {fired}' if fired else ''}")


def check_alerts(stack: Stack) -> None:
    """Kill each stage in turn: its alert fires and reaches Alertmanager; started again, all is silent again."""
    for stage in stages():
        with step(f"{stage.service} is killed"):
            stack.kill(stage.service)
            until(f"{' or '.join(WHO_IS_DOWN)} fires for it", stack.firing, _names(stage), FIRES_DEADLINE_S)
            until("Alertmanager has it", stack.notified, _names(stage), 60)
            others = {labels["alertname"] for labels in stack.firing()} - set(WHO_IS_DOWN)
            say(f"what follows from it: {', '.join(sorted(others)) or 'nothing'}")
            stack.start(stage.service)
            until("all is silent again", stack.firing, _is_silent, CLEARS_DEADLINE_S)


def _is_silent(firing: list[Mapping[str, str]]) -> bool:
    return {labels["alertname"] for labels in firing} <= {*BUDGETS}


def _names(stage: Stage) -> Callable[[list[Mapping[str, str]]], bool]:
    """Return whether the alerts name what was killed, and nothing else as down."""

    def names(firing: list[Mapping[str, str]]) -> bool:
        down = [labels for labels in firing if labels["alertname"] in WHO_IS_DOWN]
        wrong = [labels for labels in down if not _is_of(stage, labels)]
        if wrong:
            raise CheckError(f"{stage.service} was killed, and what is said to be down is {wrong}")
        return bool(down)

    return names


def _is_of(stage: Stage, labels: Mapping[str, str]) -> bool:
    of_job = labels.get("job", stage.job) == stage.job
    return of_job and (not stage.instance or labels.get("instance", stage.instance) == stage.instance)
