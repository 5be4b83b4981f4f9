"""No two files below ``ppl`` that backends and laws are made of need each other, be it inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parents[2]
OWN = ("ppl/backends/", "ppl/distributions/", "ppl/arrays.py", "ppl/namespace.py", "ppl/math.py")


def imported(path: Path, source: str) -> Iterator[str]:
    """Files that a file imports by a relative import, lazy ones too; what only types need is left out."""
    tree = ast.parse(source)
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in typing:
            continue
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        base = folder.joinpath(*node.module.split(".")) if node.module else folder
        for alias in node.names:
            for found in (base / f"{alias.name}.py", base / alias.name / "__init__.py"):
                if found.exists():
                    yield found.relative_to(ROOT).as_posix()
                    break
            else:
                for found in (base.with_suffix(".py"), base / "__init__.py"):
                    if found.exists():
                        yield found.relative_to(ROOT).as_posix()


def cycles(sources: dict[str, str]) -> list[list[str]]:
    """Files that need each other, those of `OWN` among them."""
    graph = nx.DiGraph()
    for name, source in sources.items():
        graph.add_edges_from((name, other) for other in imported(ROOT / name, source) if other != name)
    found = (sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1)
    return [part for part in found if any(name.startswith(OWN) for name in part)]


SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "ppl").rglob("*.py"))
}


def test_no_file_needs_one_that_needs_it():
    assert cycles(SOURCES) == []


def test_cycles_are_seen():
    lazy = "def f():\n    from . import lowering"
    laws = SOURCES["ppl/backends/jax/laws.py"]
    assert cycles(SOURCES | {"ppl/backends/jax/laws.py": f"{laws}\n\n{lazy}"}) == [
        ["ppl/backends/jax/laws.py", "ppl/backends/jax/lowering.py"]
    ]
