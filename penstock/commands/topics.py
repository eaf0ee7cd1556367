"""``penstock topics``: create the declared topics, and list them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.commands.tables import print_table
from penstock.errors import ExitCode

if TYPE_CHECKING:
    from penstock.topic_admin import Difference, TopicState
    from penstock.topics import Topic

TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the broker (then exit 3).")
]
_EMBEDDED = "the embedded broker makes a topic on first use: there is nothing to create"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    topics = typer.Typer(no_args_is_help=True, help="The topics, as declared in penstock/topics.py.")
    topics.command("create")(create)
    topics.command("list")(list_all)
    app.add_typer(topics, name="topics")


def create(
    replication: Annotated[
        int | None,
        typer.Option("--replication", min=1, help="Copies of each partition; by default 3, or 1 on fewer brokers."),
    ] = None,
    timeout: TimeoutOption = 60.0,
) -> int:
    """Create the topics that are missing, with their partitions, retention and compaction.

    A topic that exists is never changed: where it differs from the declaration a table says so, and the exit
    code is 1.
    """
    from penstock.log import configure_logging
    from penstock.settings import load_settings
    from penstock.topic_admin import create_topics
    from penstock.waiting import wait_for

    settings = load_settings()
    configure_logging(settings)
    if settings.embedded:
        typer.echo(_EMBEDDED)
        return ExitCode.OK
    states = wait_for("broker", lambda: create_topics(settings, replication), timeout_s=timeout)
    for state in states:
        typer.echo(f"{state.name}: {'created' if state.created else 'exists'}")
    return _report([difference for state in states for difference in state.differences])


def list_all(timeout: TimeoutOption = 10.0) -> int:
    """List the declared topics, and how the broker has them."""
    from penstock.log import configure_logging
    from penstock.settings import load_settings
    from penstock.topic_admin import topic_states
    from penstock.topics import TOPICS
    from penstock.waiting import wait_for

    settings = load_settings()
    configure_logging(settings)
    if settings.embedded:
        typer.echo(_EMBEDDED)
        print_table(_COLUMNS, (_row(topic, topic.full_name(settings), "on first use") for topic in TOPICS))
        return ExitCode.OK
    states = wait_for("broker", lambda: topic_states(settings), timeout_s=timeout)
    print_table(_COLUMNS, (_row(state.topic, state.name, _say(state)) for state in states))
    return _report([difference for state in states for difference in state.differences])


_COLUMNS = ("Topic", "Role", "Partitions", "Clean-up", "Retention", "On the broker")


def _say(state: "TopicState") -> str:
    if state.missing:
        return "missing"
    return "differs" if state.differences else "as declared"


def _row(topic: "Topic", name: str, state: str) -> tuple[str, ...]:
    config = topic.config()
    days = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // 86_400_000} days"
    return name, topic.role, str(topic.partitions), config["cleanup.policy"], days, state


def _report(differences: "Sequence[Difference]") -> int:
    if not differences:
        return ExitCode.OK
    print_table(("Topic", "Property", "Declared", "On the broker"), differences)
    typer.echo("nothing was changed: alter the topic, or delete it and create it again")
    return ExitCode.FAILED
