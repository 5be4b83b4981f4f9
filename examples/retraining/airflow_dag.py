"""The same under Airflow: one run at a time, tried again only where an error was raised."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    "retrain_late",
    start_date=datetime(2024, 1, 1),
    schedule="0 4 * * *",
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(hours=1), "retry_exponential_backoff": True},
) as dag:
    BashOperator(
        task_id="retrain",
        cwd="/srv/late",
        bash_command=".venv/bin/python job.py --rows {{ ds }}.csv --benchmark frozen.csv",
        skip_on_exit_code=3,  # made and not promoted: not to be tried again
        execution_timeout=timedelta(hours=2),
    )
