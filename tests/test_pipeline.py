"""The example pipeline, end to end: its exit status, its JSON against the schema, and its summary."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("spread", "status"), [(2.0, 0), (0.0, 5)])
def test_the_pipeline_gates(tmp_path, spread, status):
    rng = np.random.default_rng(0)
    form = np.repeat(["F0", "F1", "F2", "F3"], 40)
    mean = np.repeat([8.0, 12.0, 15.0, 20.0], 40)
    if spread:
        days = rng.poisson(mean * rng.gamma(spread, 1 / spread, 160))
    else:  # a few forms report in whole weeks, which no such model predicts
        days = np.where(rng.uniform(size=160) < 0.7, 0, 100)
    rows = "\n".join(f"{f},{d}" for f, d in zip(form, days, strict=True))
    (tmp_path / "data.csv").write_text(f"form,days\n{rows}\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SUMMARY_FILE": str(tmp_path / "summary.md"),
    }
    command = [
        str(ROOT / "examples" / "pipeline" / "run.sh"),
        str(tmp_path / "data.csv"),
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    jsonschema.validate(record, json.loads((ROOT / "diagnostics" / "report" / "schema.json").read_text()))
    assert "| quantity | mean |" in (tmp_path / "summary.md").read_text()
    missing = subprocess.run(
        [*command[:1], str(tmp_path / "none.csv"), command[2]], env=environment, capture_output=True
    )
    assert missing.returncode == 2
