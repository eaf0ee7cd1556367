"""What a dashboard is, and the PromQL that several of them share."""

from dataclasses import dataclass

from infra.grafana.panels import Panel

STAGE_JOBS = 'job!~"prometheus|alertmanager|grafana|registry"'
"""What is ours among all that is scraped; the alert StageDown chooses so, too."""


@dataclass(frozen=True)
class Variable:
    """A choice at the top: values of ``label`` in the series of ``metric``, several at once, all unless chosen."""

    name: str
    label: str
    metric: str


@dataclass(frozen=True)
class Board:
    """A dashboard: rows of panels by headline."""

    uid: str
    title: str
    description: str
    rows: dict[str, tuple[Panel, ...]]
    variables: tuple[Variable, ...] = ()
    hours: int = 1


def owner(series: str, by: str) -> str:
    """Return a gauge of partitions by ``by``: during a rebalance two instances may show one partition."""
    return f"max by ({by}) ({series})"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return a quantile of what a histogram saw lately."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def per_minute(gauge: str, by: str = "") -> str:
    """Return how much a figure of the views rises in a minute: a slope, since a rebuild may lower the figure."""
    return f"60 * sum by ({by}) (max without (instance) (deriv({gauge}[5m])))"
