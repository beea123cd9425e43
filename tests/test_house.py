"""The house: imports run one way, in the order of layers that CONTRIBUTING has; no circle, no crowded folder.

Imports are read from the source, those within functions and for type checkers too. What a registry names as text is
imported when it is asked for and does not count, for a registry knows its entries by name only.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "bruno_spice"
FOLDERS = ("devices", "calibration", "training", "spice_netlists")
MOST_MODULES = 14
Graph = dict[str, set[str]]
Source = dict[str, Path]


def modules(root: Path) -> Source:
    """File of every module of the package, by its name there."""
    files = {f"{PACKAGE}.{path.relative_to(root)}": path for name in FOLDERS for path in (root / name).rglob("*.py")}
    files |= {str(path.relative_to(root)): path for path in (root / PACKAGE).glob("*.py")}
    return {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path for name, path in files.items()}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def folder(module: str, files: Source) -> str:
    """The folder of a module; a package's own is the folder itself."""
    return module if files[module].name == "__init__.py" else module.rpartition(".")[0]


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of `path`; the name is empty for ``import module``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: say where it is from: from {PACKAGE}..."
            yield from ((node.module or "", alias.name) for alias in node.names)


def graph(files: Source) -> Graph:
    """The modules that every module imports, but for itself."""
    found: Graph = {}
    for module, path in files.items():
        pairs = ((source, f"{source}.{name}") for source, name in imported(path))
        found[module] = {full if full in files else source for source, full in pairs if source in files} - {module}
    return found


def between_folders(files: Source) -> Graph:
    """The folders that every folder imports, but for itself."""
    found: Graph = {folder(module, files): set() for module in files}
    for module, sources in graph(files).items():
        found[folder(module, files)] |= {folder(source, files) for source in sources} - {folder(module, files)}
    return found


def circle(found: Graph) -> list[str]:
    """One circle of `found`, first and last alike; empty where there is none."""
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def layers(text: str) -> list[set[str]]:
    """The rows of folders in CONTRIBUTING's block that begins with the package's name, the lowest first."""
    (block,) = re.findall(rf"\n\n((?:    .+\n)*    {PACKAGE}\n(?:    .+\n)*)", text)
    rows = [set(row.split()) for row in block.splitlines()]
    return [{name if name == PACKAGE else f"{PACKAGE}.{name}" for name in row} for row in reversed(rows)]


def against_the_order(found: Graph, order: list[set[str]]) -> list[str]:
    """The imports of `found` that do not go to a lower row of `order`; folders of one row do not know each other."""
    height = {name: row for row, names in enumerate(order) for name in names}
    arrows = ((a, b) for a, known in found.items() for b in sorted(known) if {a, b} <= height.keys())
    return [f"{a} -> {b}" for a, b in arrows if height[b] >= height[a]]


def without_use(path: Path) -> list[str]:
    """Imports of the package whose name `path` never uses: they would be there for what they do."""
    nodes = list(ast.walk(tree(path)))
    bound = [
        alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (alias.name if isinstance(node, ast.Import) else node.module or "").startswith(PACKAGE)
    ]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    quoted = [text for text in texts(path) if re.fullmatch(r"[A-Za-z_][\w.]*(\[.*\])?( \| .*)?", text)]
    used |= {word for text in quoted for word in re.findall(r"\w+", text)}  # types in quotes, __all__
    statements = (ast.unparse(node.value) for node in nodes if isinstance(node, ast.Expr))
    called = [text for text in statements if re.match(r"(importlib\.)?(import_module|__import__)\(", text)]
    return [name for name in bound if name not in used] + called


def texts(path: Path) -> list[str]:
    """Every text of `path` that is no docstring."""
    nodes = list(ast.walk(tree(path)))
    documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in documents)
    return [node.value for node in constants if isinstance(node.value, str)]


def by_an_old_name(path: Path, files: Source) -> list[str]:
    """Imports of `path`, and texts that name or import a module or something in it, without the package's name."""
    old = [source for source, _ in imported(path) if source.partition(".")[0] in FOLDERS]
    inner = tuple(name.removeprefix(f"{PACKAGE}.") for name in files if name.count(".") > 1)
    names = [text for text in texts(path) if re.fullmatch(r"\w+(\.\w+)+", text)]
    code = rf"(?:^|[\n;]) *(?:from|import) ((?:{'|'.join(FOLDERS)})\b[.\w]*)"
    old += [name for text in texts(path) for name in re.findall(code, text)]
    return old + [name for name in names if name in inner or name.startswith(tuple(f"{each}." for each in inner))]


FILES = modules(ROOT)
ORDER = layers((ROOT / "CONTRIBUTING.md").read_text())


def test_there_is_a_house_to_look_at():
    assert len(FILES) > 200
    assert {"bruno_spice.training.runs.trainer", "bruno_spice.cli", "bruno_spice.devices.units"} <= set(FILES)
    assert sum(len(known) for known in graph(FILES).values()) > 800


def test_no_module_is_imported_in_a_circle():
    assert circle(graph(FILES)) == []


def test_no_folder_is_imported_in_a_circle():
    assert circle(between_folders(FILES)) == []


def test_every_folder_has_its_layer_in_contributing():
    named = [name for row in ORDER for name in row]
    assert sorted(named) == sorted(between_folders(FILES))


def test_no_import_goes_upwards():
    assert against_the_order(between_folders(FILES), ORDER) == []


def test_no_folder_is_crowded():
    rooms = Counter(folder(module, FILES) for module, path in FILES.items() if path.name != "__init__.py")
    assert {name: count for name, count in rooms.items() if count > MOST_MODULES} == {}


def test_every_folder_of_modules_is_a_package():
    """One without an ``__init__.py`` would be left out of the wheel."""
    assert [path.parent for path in FILES.values() if not (path.parent / "__init__.py").is_file()] == []


def test_no_module_is_imported_for_what_its_import_does():
    assert {name: found for name, path in FILES.items() if (found := without_use(path))} == {}


def test_nothing_is_imported_by_an_old_name():
    files = [*FILES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    try_them = {ROOT / "tests" / name for name in ("test_house.py", "test_public_face.py", "test_wheel.py")}
    assert {str(path): found for path in files if path not in try_them and (found := by_an_old_name(path, FILES))} == {}


@pytest.fixture
def house(tmp_path):
    """A small house of given sources, by path."""

    def build(**sources):
        for name, text in {"devices": "", "training": ""}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(text)
        for name, text in sources.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.write_text(text)
        return modules(tmp_path)

    return build


def test_a_circle_through_a_function_and_a_type_is_seen(house):
    files = house(
        devices__a="def f():\n    from bruno_spice.devices import b\n    return b\n",
        devices__b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bruno_spice.devices.a import f\n",
    )
    assert set(circle(graph(files))) == {"bruno_spice.devices.a", "bruno_spice.devices.b"}
    assert circle(between_folders(files)) == []


def test_a_circle_of_folders_and_an_arrow_upwards_are_seen(house):
    files = house(
        devices__a="from bruno_spice.training.b import x\n",
        training__b="x = 1\n",
        training__c="import bruno_spice.devices.d\n",
        devices__d="",
    )
    assert circle(graph(files)) == []
    assert set(circle(between_folders(files))) == {"bruno_spice.devices", "bruno_spice.training"}
    order = layers("Layers:\n\n    bruno_spice\n    training\n    devices\n\nThe end.\n")
    assert against_the_order(between_folders(files), order) == ["bruno_spice.devices -> bruno_spice.training"]


def test_imports_for_a_side_effect_and_by_an_old_name_are_seen(house):
    files = house(
        devices__a="import bruno_spice.devices.b  # noqa: F401\nfrom bruno_spice.devices import c as d\n",
        devices__b="from devices.a import x\nfrom training import y\nz = 'devices.b.load'\n"
        "w = 'import sys; from devices.b import x'\n",
        devices__c="z = 'training.epochs', 'devices of all kinds'\n",
    )
    assert without_use(files["bruno_spice.devices.a"]) == ["bruno_spice", "d"]
    assert by_an_old_name(files["bruno_spice.devices.b"], files) == [
        "devices.a",
        "training",
        "devices.b",
        "devices.b.load",
    ]
    assert by_an_old_name(files["bruno_spice.devices.c"], files) == []


def test_no_two_test_files_share_a_name():
    """The tests are no package: pytest imports each by its bare name, and refuses the second of a name."""
    counted = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in counted.items() if count > 1] == []
