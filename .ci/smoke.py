"""What must work on every Python: the README's example, saving, one plot, the demo, and PyTorch where it is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")


def main(readme: str) -> None:
    """Run the set; any failure is an exception."""
    import elboroom as er

    code = re.search(
        r"```python\n(import elboroom.*?)```", Path(readme).read_text(encoding="utf-8"), re.DOTALL
    )
    told: dict = {}
    exec(code[1], told)  # the page is ours
    posterior = told["posterior"]
    assert posterior.verdict == "trusted" and abs(posterior.summary().loc["mu", "mean"] - 4.4) < 0.5
    assert posterior.predict(sigma=[10.0], new_groups="school")["posterior_predictive"]["y"].shape[-1] == 1
    with tempfile.TemporaryDirectory() as folder:
        loaded = er.load(posterior.save(Path(folder) / "posterior"))
        np.testing.assert_array_equal(loaded.values["theta"], posterior.values["theta"])
        posterior.report(Path(folder) / "report")
        subprocess.run(
            [sys.executable, "-m", "elboroom", "demo", "--out", str(Path(folder) / "demo")], check=True
        )
    assert er.plots.forest(posterior).viz is not None
    assert posterior.check()
    if importlib.util.find_spec("torch") is None:
        print("PyTorch: skipped, no build of it for the CPU was found for this Python")
        return
    program = told["eight_schools"](sigma=told["error"], y=told["effect"])
    torch = er.fit(program, backend="torch", progress=False, refine=False)
    assert abs(torch.summary().loc["mu", "mean"] - posterior.summary().loc["mu", "mean"]) < 0.5
    print("PyTorch: the same answer")


if __name__ == "__main__":
    main(sys.argv[1])
