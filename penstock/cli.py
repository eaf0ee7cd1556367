"""The ``penstock`` command: the composition root. Each module of ``penstock.commands`` adds its own commands.

Exit codes: 0 fine, 1 it differs or failed, 2 usage, 3 gave up waiting, 4 stopped to protect the data.
"""

import os
import sys
from importlib import import_module

import click
import typer

from penstock.errors import ExitCode, PenstockError
from penstock.parent import die_with_parent

COMMAND_MODULES = ("config", "schemas", "topics", "produce", "replay", "process", "materialize", "demo")
"""The modules of ``penstock.commands``, in the order of the help page."""


def build_app() -> typer.Typer:
    """Return the application with all commands. Heavy libraries are imported only by the command that runs."""
    app = typer.Typer(
        name="penstock",
        help="A Kafka streaming pipeline whose numbers are exactly right, and can be proved.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMAND_MODULES:
        import_module(f"penstock.commands.{name}").register(app)
    return app


def main() -> None:
    """Run the command line; end in an exit code, and in one line in place of a traceback."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    os.environ.setdefault("RUST_BACKTRACE", "0")
    die_with_parent()
    try:
        result = build_app()(standalone_mode=False)
        sys.exit(int(result) if isinstance(result, int) else ExitCode.OK)
    except PenstockError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        _fail("stopped", ExitCode.FAILED)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)


def _fail(message: str, code: ExitCode) -> None:
    sys.stderr.write(f"penstock: {message}\n")
    sys.exit(code)
