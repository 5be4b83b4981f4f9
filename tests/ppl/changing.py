"""Models that read something which changes, in three languages; run as a program it prints their fingerprints."""

import types

import numpy as np

X, Y = np.linspace(-1.0, 1.0, 6), np.array([0.3, -0.2, 0.5, 0.1, 0.9, 1.4])
LANGUAGES = {"elboroom": "jax", "numpyro": "jax", "pyro": "torch"}

BODIES = {
    "elboroom": """
import elboroom as er
@er.model
def model(x, y, extra=None):
    b, c = er.sample("b", er.Normal(0.0, 1.0)), er.sample("c", er.Normal(0.0, 1.0))
    er.deterministic("d", shown() * b)
    with er.plate("row", len(x)):
        er.observe("y", er.Normal(c + read(extra) * b * x, 1.0), y)
""",
    "numpyro": """
import elboroom as er, numpyro, numpyro.distributions as dist
def declared(x, y, extra=None):
    b, c = numpyro.sample("b", dist.Normal(0.0, 1.0)), numpyro.sample("c", dist.Normal(0.0, 1.0))
    numpyro.deterministic("d", shown() * b)
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(c + read(extra) * b * x, 1.0), obs=y)
model = er.from_numpyro(declared)
""",
    "pyro": """
import elboroom as er, pyro, pyro.distributions as dist
def declared(x, y, extra=None):
    b, c = pyro.sample("b", dist.Normal(0.0, 1.0)), pyro.sample("c", dist.Normal(0.0, 1.0))
    pyro.deterministic("d", shown() * b)
    with pyro.plate("row", len(x)):
        pyro.sample("y", dist.Normal(c + read(extra) * b * x, 1.0), obs=y)
model = er.from_pyro(declared)
""",
}
PLAIN = "def shown(): return 1.0\n"


def _setter(name, value):
    return lambda space: space.__setitem__(name, value)


def _run(code):
    return lambda space: exec(code, space)


KINDS = {  # what `read` reads, and what changes it
    "a global": ("S = 2.0\ndef read(extra): return S", _setter("S", 4.0)),
    "a global array, in place": (
        "import numpy as np\nS = np.full(6, 2.0)\ndef read(extra): return float(S[3])",
        _run("S[3] = 4.0"),
    ),
    "a list": ("S = [1.0, 2.0]\ndef read(extra): return S[1]", _run("S[1] = 4.0")),
    "a helper": (
        "def read(extra): return helper()\ndef helper(): return 2.0",
        _run("def helper(): return 4.0"),
    ),
    "a helper's helper": (
        "def read(extra): return helper()\ndef helper(): return inner()\ndef inner(): return 2.0",
        _run("def inner(): return 4.0"),
    ),
    "a closure": (
        "def make():\n    s = 2.0\n    def read(extra): return s\n"
        "    def put(to):\n        nonlocal s\n        s = to\n    return read, put\nread, put = make()",
        _run("put(4.0)"),
    ),
    "a default": ("def read(extra, s=2.0): return s", _run("read.__defaults__ = (4.0,)")),
    "an attribute": (
        "class Thing: pass\nthing = Thing()\nthing.s = 2.0\ndef read(extra): return thing.s",
        _run("thing.s = 4.0"),
    ),
    "a method": (
        "class Thing:\n    def s(self): return 2.0\nthing = Thing()\ndef read(extra): return thing.s()",
        _run("Thing.s = lambda self: 4.0"),
    ),
    "a module": (
        "import types\ntools = types.ModuleType('tools')\ntools.s = 2.0\ndef read(extra): return tools.s",
        _run("tools.s = 4.0"),
    ),
    "a partial": (
        "from functools import partial\ndef scaled(s, extra): return s\nread = partial(scaled, 2.0)",
        _run("read = partial(scaled, 4.0)"),
    ),
    "a long array in an argument": ("def read(extra): return float(extra.values[1000])", "long"),
    "a sparse matrix in an argument": ("def read(extra): return float(extra.values.sum())", "sparse"),
    "an attribute of an argument": ("def read(extra): return extra.s", "attribute"),
    "a conditioned value": ("def read(extra): return 2.0", "condition"),
    "a do-value": ("def read(extra): return 2.0", "do"),
    "a deterministic alone": (
        "S = 2.0\ndef read(extra): return 2.0\ndef shown(): return S",
        _setter("S", 4.0),
    ),
}


class Case:
    """One model in one language, and what changes it."""

    def __init__(self, kind: str, language: str):
        source, self._change = KINDS[kind]
        self.backend, self.kind = LANGUAGES[language], kind
        self.space: dict = {"__name__": "changing"}
        exec(PLAIN + source + "\n" + BODIES[language], self.space)
        self.extra, self.value = self._argument(), 0.5

    def _argument(self):
        import scipy.sparse

        values = {"long": np.full(2000, 2.0), "sparse": scipy.sparse.csr_matrix([[2.0, 0.0], [0.0, 0.0]])}
        if self._change == "attribute":
            return types.SimpleNamespace(s=2.0)
        if self._change in ("long", "sparse"):
            return types.SimpleNamespace(values=values[self._change])
        return None

    def change(self):
        if callable(self._change):
            self._change(self.space)
        elif self._change == "long":
            self.extra.values[1000] = 4.0
        elif self._change == "sparse":
            self.extra.values = self.extra.values * 2
        elif self._change == "attribute":
            self.extra.s = 4.0
        else:
            self.value = 1.0

    @property
    def program(self):
        x, y = X, Y
        if self.backend == "torch":
            import torch

            x, y = torch.tensor(X), torch.tensor(Y)
        made = self.space["model"](x=x, y=y, extra=self.extra)
        if self._change in ("condition", "do"):
            return getattr(made, self._change)(b=self.value)
        return made

    @property
    def target(self):
        return self.program.target(self.backend, np.float64, "cpu")

    def numbers(self):
        """Log density at a point and the deterministic there."""
        target = self.target
        z = np.full((1, target.dim), 0.7)
        return float(target.log_density(z)["log_density"][0]), float(target.constrain(z)["d"][0])


def fingerprints(language):
    found = {}
    for kind in KINDS:
        case = Case(kind, language)
        before = case.target.density.fingerprint
        case.change()
        found[kind] = before, case.target.density.fingerprint
    return found


if __name__ == "__main__":
    import json

    print(json.dumps({language: fingerprints(language) for language in LANGUAGES}))
