"""What the code says of itself, read from it: which files need which, and what none of them does."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ppl", "guides", "inference", "diagnostics", "operations")
LIBRARIES = {"jax", "jaxlib", "numpyro", "optax", "flowjax", "torch", "pyro", "zuko"}
BACKENDS = ("ppl/backends/jax", "ppl/backends/torch")
# The windows upward, imported where they are called: `Posterior.check` and `Posterior.report`, and `Posterior.update`, which fits.
WINDOW = {("inference/posterior/posterior.py", "diagnostics")}
FITS = {("inference/posterior/posterior.py", "inference/stream/update.py")}

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
    assert folders | {"elboroom", "elboroom.operations.runbooks"} == set(settings["packages"])


def test_every_folder_has_an_init():
    assert not [
        p
        for p in FILES
        if p.is_relative_to(ROOT / "src") is False and not (p.parent / "__init__.py").exists()
    ]


# -- no two files need each other ------------------------------------------------------------------------

SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES}


def needed(name: str, source: str) -> Iterator[str]:
    """Files that a file imports, lazily too; without what only types need and what the window lets through."""
    path, tree = ROOT / name, ast.parse(source)
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in typing:
            continue
        base = ROOT.joinpath(*package_of(path)[: len(package_of(path)) - node.level + 1])
        base = base.joinpath(*node.module.split(".")) if node.module else base
        for alias in node.names:
            options = (base / f"{alias.name}.py", base / alias.name / "__init__.py")
            options = (*options, base.with_suffix(".py"), base / "__init__.py")
            found = next((o.relative_to(ROOT).as_posix() for o in options if o.exists()), None)
            if found is not None and (name, found.split("/")[0]) not in WINDOW and (name, found) not in FITS:
                yield found


def cycles(sources: dict[str, str]) -> list[list[str]]:
    """Files that need each other."""
    graph = nx.DiGraph()
    for name, source in sources.items():
        graph.add_edges_from((name, other) for other in needed(name, source) if other != name)
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_no_file_needs_one_that_needs_it():
    assert cycles(SOURCES) == []


@pytest.mark.parametrize(
    "name, line, found",
    [
        ("ppl/backends/jax/laws.py", "def f():\n    from . import lowering", True),
        ("ppl/thresholds.py", "from .errors import explain", True),
        ("guides/transport.py", "def f():\n    from .flow import Flow", True),
        ("ppl/thresholds.py", "if TYPE_CHECKING:\n    from .errors import explain", False),
    ],
)
def test_cycles_are_seen(name, line, found):
    assert (name in str(cycles(SOURCES | {name: f"{SOURCES[name]}\n\n{line}"}))) is found


# -- nothing asks for a family's name, or for the class of a transport -----------------------------------

GUIDES = {name: ast.parse(source) for name, source in SOURCES.items() if name.startswith("guides/")}
EXCEPTIONS = ("TooDense", "NotPositiveDefinite", "UnreadLinks")
CLASSES = {
    node.name: name
    for name, tree in GUIDES.items()
    for node in tree.body
    if isinstance(node, ast.ClassDef) and node.name not in EXCEPTIONS
}
FAMILY_NAMES = {
    str(ast.literal_eval(line.value)): name
    for name, tree in GUIDES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
    for line in node.body
    if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "name" and line.value is not None
}
ASKS_FOR_A_FAMILY = {
    # A checkpoint says which family was fitted: the same one goes on, another one is made by its name.
    ("inference/ladder/snapshot.py", "family.name != values['family']"),
}


def last_word(node: ast.AST) -> str:
    """``c`` of ``a.b.c``."""
    return getattr(node, "attr", getattr(node, "id", ""))


def is_family_name(node: ast.AST, name: str) -> bool:
    """Whether an operand is a family's name, as an attribute or as a word of one that another file defines."""
    if isinstance(node, ast.Attribute) and node.attr == "name":
        return last_word(node.value) == "family" or CLASSES.get(last_word(node.value), name) != name
    words = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return any(FAMILY_NAMES.get(word, name) != name for word in words if isinstance(word, str))


def family_questions(name: str, source: str) -> list[str]:
    """Comparisons with a family's name outside the file of that family."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            if any(is_family_name(operand, name) for operand in (node.left, *node.comparators)):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.MatchValue) and is_family_name(node.value, name):
            found.append(ast.unparse(node))
    return [text for text in found if (name, text) not in ASKS_FOR_A_FAMILY]


def guide_classes(name: str, tree: ast.AST) -> dict[str, str]:
    """Classes of the guides that a file imports, by what it calls them, and the files that define them."""
    found = dict(CLASSES) if name.startswith("guides/") else {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "guides":
            found |= {a.asname or a.name: CLASSES[a.name] for a in node.names if a.name in CLASSES}
    return found


def class_questions(name: str, source: str) -> list[str]:
    """``isinstance``, ``type(x) is`` and patterns with a class of the guides, outside the file that defines it."""
    tree, found = ast.parse(source), []
    known = guide_classes(name, tree)
    for node in ast.walk(tree):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Call) and last_word(node.func) in {"isinstance", "issubclass"}:
            asked = list(ast.walk(node.args[1]))
        elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node.left):
            asked = list(node.comparators)
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        if any(known.get(last_word(part), name) != name for part in asked):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_asks_for_a_familys_name(name):
    assert family_questions(name, SOURCES[name]) == []


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_asks_for_the_class_of_a_transport(name):
    assert class_questions(name, SOURCES[name]) == []


def test_families_and_their_classes_are_known():
    assert {"mean-field", "flow", "laplace", "mixture"} <= FAMILY_NAMES.keys()
    assert {"Affine", "Spline", "Rooted", "LowRankFactor", "Components", "Factor"} <= CLASSES.keys()


@pytest.mark.parametrize(
    "name, source, found",
    [
        ("inference/x.py", "if state.family.name == chosen: pass", True),
        ("inference/x.py", "if word in ('flow', 'laplace'): pass", True),
        ("inference/x.py", "a = MeanField.name != plan.guide.name", True),
        ("guides/choose.py", "match word:\n    case 'flow':\n        pass", True),
        ("guides/flow.py", "if word == 'flow': pass", False),
        ("inference/x.py", "words = state.family.name", False),
        ("inference/x.py", "if rung.name == 'starts': pass", False),
    ],
)
def test_questions_for_a_family_are_seen(name, source, found):
    assert bool(family_questions(name, source)) is found


@pytest.mark.parametrize(
    "name, source, found",
    [
        ("inference/x.py", "from ..guides.transport import Affine\nisinstance(x, (int, Affine))", True),
        ("inference/x.py", "from ..guides import Spline as S\nisinstance(x, S)", True),
        ("guides/x.py", "from .sparse import Factor\ntype(x) is Factor", True),
        ("guides/x.py", "match x:\n    case Affine():\n        pass", True),
        ("guides/transport.py", "isinstance(x, Affine)", False),
        ("inference/x.py", "from pyro.distributions import Delta\nisinstance(x, Delta)", False),
    ],
)
def test_questions_for_a_class_are_seen(name, source, found):
    assert bool(class_questions(name, source)) is found


# -- nothing reads another object's underscore names -----------------------------------------------------

OF_TUPLES = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
"""Public names of named tuples, whose underscore keeps them apart from fields."""


def foreign_underscores(source: str) -> list[str]:
    """``x._name`` where x is not this object, its class or its base, on no line that gives a reason for it."""
    lines, found = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        if node.attr.endswith("_") or node.attr in OF_TUPLES:
            continue
        if ast.unparse(node.value) in {"self", "cls", "super()", "type(self)"}:
            continue
        _, marked, reason = " ".join(lines[node.lineno - 1 : node.end_lineno]).partition("# noqa: SLF001")
        if not (marked and reason.strip()):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_reads_anothers_underscore_names(name):
    assert foreign_underscores(SOURCES[name]) == []


@pytest.mark.parametrize(
    "source, found",
    [
        ("posterior._record", True),
        ("other._scale = 1", True),
        ("f(self.target._plan)", True),
        ("x._schema  # noqa: SLF001", True),
        ("x._schema  # noqa: SLF001  there is no public name", False),
        ("self._scale + super()._scale + cls._made + type(self)._made", False),
        ("pair._replace(a=x.__doc__)", False),
    ],
)
def test_foreign_underscores_are_seen(source, found):
    assert bool(foreign_underscores(source)) is found


# -- a number with a meaning stands in the room's thresholds.py ------------------------------------------

NUMBERS = {
    "ppl/steps.py": "coefficients of RODAS (Hairer and Wanner 1996, section IV.7)",
    "ppl/bessel.py": "coefficients of Debye's expansion and of the power series (DLMF 10.41.10, 10.25.2)",
    "ppl/incomplete.py": "the stretch of a Gauss-Legendre rule, by the rounding of double precision",
    "ppl/backends/jax/logits.py": "coefficients of a polynomial for the inverse hyperbolic tangent",
    "ppl/files.py": "codes of operating systems, and the length of a SHA-256 checksum",
    "inference/engines/ascent.py": "the bits of a word of a hash",
    "inference/posterior/load.py": "numbers of HDF5's filters",
    "inference/posterior/render.py": "the order of verdicts",
    "inference/posterior/save.py": "the version of a format",
    "src/elboroom/__main__.py": "exit statuses",
    "src/elboroom/folder.py": "exit statuses",
}
"""Files whose numbers decide nothing, and what these are instead."""
NUMERIC_CALLS = {"array", "asarray", "exp", "float", "frozenset", "int", "log", "sqrt"}


def parts(node: ast.AST | None) -> list[Any]:
    """What an expression is made of, where it may be numbers: arithmetic, a container, a mapping, some functions."""
    match node:
        case ast.UnaryOp(operand=only):
            return [only]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.Tuple(elts=some) | ast.List(elts=some) | ast.Set(elts=some) | ast.Dict(values=some):
            return some
        case ast.Call(func=function, args=some) if last_word(function) in NUMERIC_CALLS:
            return some
    return []


def is_number(node: ast.AST | None) -> bool:
    """Whether an expression is made of numbers alone."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    return bool(parts(node)) and all(map(is_number, parts(node)))


def assigned(source: str) -> list[tuple[str, ast.expr | None]]:
    """Names in capitals that a module assigns to, each time it does, and what they are given."""
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if both else [(target, node.value)]
            found += [(last_word(one), value) for one, value in pairs]
    return [(name, value) for name, value in found if name.isupper()]


def named_numbers(source: str) -> list[str]:
    """Names in capitals that a module gives to numbers."""
    return [name for name, value in assigned(source) if is_number(value)]


@pytest.mark.parametrize("name", [name for name in SOURCES if Path(name).name != "thresholds.py"])
def test_numbers_with_a_meaning_stand_in_thresholds(name):
    assert named_numbers(SOURCES[name]) == [] or name in NUMBERS


@pytest.mark.parametrize(
    "source, found",
    [
        ("LIMIT = 3", ["LIMIT"]),
        ("_FAR: float = -1e8", ["_FAR"]),
        ("LARGEST = 2**31 - 1", ["LARGEST"]),
        ("NAME, NUMBER = 'x', 2", ["NUMBER"]),
        ("ENDS = (0.05, 0.95), (0.25, 0.75)", ["ENDS"]),
        ("DEEP = {'float64': -30.0}", ["DEEP"]),
        ("TRIED = np.array([-971.3, 1.41])", ["TRIED"]),
        ("LOG_ROOT = 0.5 * np.log(2 * np.pi)", []),
        ("WORDS, ANY = ('a', 'b'), True", []),
        ("def f():\n    LIMIT = 3", []),
    ],
)
def test_numbers_are_seen(source, found):
    assert named_numbers(source) == found


@pytest.mark.parametrize("name", [name for name in SOURCES if Path(name).name == "thresholds.py"])
def test_a_number_has_one_value(name):
    """A name that a second line takes for something else changes the number of the first, far from it."""
    names = [name for name, _ in assigned(SOURCES[name])]
    assert [name for name, count in Counter(names).items() if count > 1] == []
