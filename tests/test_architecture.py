"""Who may import whom, read from the sources: stages meet only in topics."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = ("producers", "processors", "consumers", "referee")
OURS = (*STAGES, "penstock", "testbed", "bench", "chaos", "simulation", "infra", "tests", "avro_schemas")
CLIENTS = {"Producer", "Consumer", "AdminClient", "Client", "AsyncClient", "App", "connect"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, nested: bool) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import; those inside of functions only if ``nested``."""
    tree = ast.parse(path.read_text(), str(path))
    for node in ast.walk(tree) if nested else _outside_of_functions(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _outside_of_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        is_typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_typing_only:
            continue
        yield child
        yield from _outside_of_functions(child)


def offences(paths: list[Path], forbidden: set[str], *, nested: bool = True) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in paths
        for line, module in imports(path, nested=nested)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]


def is_composition_root(path: Path) -> bool:
    return path == ROOT / "penstock" / "cli.py" or path.parent == ROOT / "penstock" / "commands"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_the_kernel_and_itself_and_no_other_stage(stage: str) -> None:
    assert offences(sources(stage), {*OURS} - {stage, "penstock", "avro_schemas"}) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_nothing_of_the_command_line(stage: str) -> None:
    assert offences(sources(stage), {"penstock.commands", "penstock.cli", "typer"}) == []


def test_the_kernel_imports_no_stage() -> None:
    kernel = [path for path in sources("penstock") if not is_composition_root(path)]
    assert offences(kernel, {*OURS} - {"penstock", "avro_schemas"}) == []


def test_only_the_command_line_imports_commands() -> None:
    elsewhere = [path for package in ("penstock", *STAGES) for path in sources(package)]
    outside = [path for path in elsewhere if not is_composition_root(path)]
    assert offences(outside, {"penstock.commands"}) == []


def test_commands_import_stages_only_when_they_run() -> None:
    root = [path for path in sources("penstock") if is_composition_root(path)]
    assert offences(root, {*STAGES, "testbed", "bench", "chaos", "simulation", "tests"}, nested=False) == []


def test_nothing_that_ships_imports_what_only_tests_have() -> None:
    shipped = [path for package in ("penstock", *STAGES) for path in sources(package)]
    ours = {"testbed", "tests", "bench", "chaos", "simulation"}
    assert offences(shipped, ours | {"pytest", "hypothesis", "psutil"}) == []


def test_no_client_is_made_at_import() -> None:
    found = []
    for path in (path for package in ("penstock", *STAGES) for path in sources(package)):
        for node in _outside_of_functions(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in CLIENTS:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {name}")
    assert [line for line in found if not line.startswith("processors/app.py")] == []


def test_the_referee_shares_no_code_with_the_processors_nor_the_views() -> None:
    assert offences(sources("referee"), {"processors", "consumers"}) == []
    assert not [path for path in sources("referee") if ".sql" in path.read_text() and "views/" in path.read_text()]


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
