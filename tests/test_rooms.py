"""The rooms depend one way, and only the backends know their libraries."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ppl", "guides", "inference", "diagnostics")
LIBRARIES = {"jax", "jaxlib", "numpyro", "optax", "flowjax", "torch", "pyro", "zuko"}
BACKENDS = ("ppl/backends/jax", "ppl/backends/torch")
# The one window upward: `Posterior.check` and `Posterior.report`, imported where they are called.
WINDOW = {("inference/posterior/posterior.py", "diagnostics")}

FILES = sorted(path for room in (*ROOMS, "src") for path in (ROOT / room).rglob("*.py"))


def package_of(path: Path) -> tuple[str, ...]:
    """Dotted package of a file below the import root: ``ppl/backends/x.py`` is in ``("ppl", "backends")``."""
    parts = path.relative_to(ROOT).parent.parts
    return parts[2:] if parts[:2] == ("src", "elboroom") else parts


def imports(path: Path, source: str | None = None) -> Iterator[tuple[str, bool]]:
    """Absolute names that a file imports, elboroom's own as ``elboroom.room.module``, and whether lazily."""
    tree = ast.parse(path.read_text() if source is None else source)
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in lazy
        elif isinstance(node, ast.ImportFrom):
            base = list(package_of(path))
            if node.level:
                base = ["elboroom", *base[: len(base) - node.level + 1]]
                prefix = ".".join(base + ([node.module] if node.module else []))
            else:
                prefix = node.module or ""
            yield prefix, id(node) in lazy
            for alias in node.names:
                yield f"{prefix}.{alias.name}", id(node) in lazy
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            if node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), id(node) in lazy


def back_edges(path: Path, source: str | None = None) -> list[str]:
    """Imports of a room from a room below it."""
    room = package_of(path)[:1]
    if not room or room[0] not in ROOMS:
        return []
    above = ROOMS[ROOMS.index(room[0]) + 1 :]
    name = path.relative_to(ROOT).as_posix()
    return [
        target
        for target, lazy in imports(path, source)
        for other in above
        if target.split(".")[:2] in (["elboroom", other], [other]) and not (lazy and (name, other) in WINDOW)
    ]


def library_imports(path: Path, source: str | None = None) -> list[str]:
    """Imports of a backend's library outside the backends."""
    if path.relative_to(ROOT).as_posix().startswith(BACKENDS):
        return []
    return [target for target, _ in imports(path, source) if target.split(".")[0] in LIBRARIES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rooms_depend_one_way(path):
    assert back_edges(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_backends_import_their_libraries(path):
    assert library_imports(path) == []


@pytest.mark.parametrize(
    "name, source, found",
    [
        ("ppl/x.py", "from ..inference.fit import fit", True),
        ("ppl/backends/x.py", "from ...guides import choose", True),
        ("guides/x.py", "import elboroom.diagnostics", True),
        ("guides/x.py", "def f():\n    from elboroom import inference", True),
        ("inference/posterior/posterior.py", "from ...diagnostics import check", True),
        ("inference/posterior/posterior.py", "def f():\n    from ...diagnostics import check", False),
        ("inference/x.py", "from ..guides import choose\nfrom .watch import Watch", False),
    ],
)
def test_back_edges_are_seen(name, source, found):
    assert bool(back_edges(ROOT / name, source)) is found


def test_library_imports_are_seen():
    assert library_imports(ROOT / "guides/x.py", "def f():\n    import jax.numpy as jnp")
    assert library_imports(ROOT / "inference/x.py", "from numpyro import distributions")
    assert not library_imports(ROOT / "ppl/backends/jax/x.py", "import jax")


def test_every_folder_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        "elboroom." + ".".join(path.relative_to(ROOT).parent.parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    assert folders | {"elboroom"} == set(settings["packages"])


def test_every_folder_has_an_init():
    assert not [
        p
        for p in FILES
        if p.is_relative_to(ROOT / "src") is False and not (p.parent / "__init__.py").exists()
    ]
