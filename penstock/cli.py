"""The ``penstock`` command: the composition root. Each module of ``penstock.commands`` adds its own commands.

Exit codes: 0 fine, 1 it differs or failed, 2 usage, 3 gave up waiting, 4 stopped to protect the data.
"""

import os
import sys
from importlib import import_module

import typer

from penstock.errors import ExitCode, PenstockError
from penstock.parent import die_with_parent

COMMAND_MODULES = (
    "config", "schemas", "topics", "acls", "produce", "replay", "process", "materialize", "rebuild", "verify",
    "explain", "books", "demo", "serve",
)  # fmt: skip
"""The modules of ``penstock.commands``, in the order of the help page."""


def build_app() -> typer.Typer:
    """Return the application with all commands. Heavy libraries are imported only by the command that runs."""
    app = typer.Typer(
        name="penstock",
        help="A Kafka streaming pipeline whose numbers are exactly right, and can be proved.",
        no_args_is_help=True,
        add_completion=False,
        result_callback=_end,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMAND_MODULES:
        import_module(f"penstock.commands.{name}").register(app)
    return app


def main() -> None:
    """Run the command line; end in an exit code, and in one line in place of a traceback."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    os.environ["RUST_BACKTRACE"] = "0"  # a panic of the decoder is caught, and explained by itself
    die_with_parent()
    try:
        build_app()(prog_name="penstock")
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(error.exit_code)


def _end(result: object, **_parameters: object) -> None:
    """End with the exit code that a command returned."""
    raise typer.Exit(int(result) if isinstance(result, int) else ExitCode.OK)
