"""Chains shared out among several devices: the same draws as on one."""

import os
import subprocess
import sys

import numpy as np

SCRIPT = """
import sys
import jax
import numpy as np
import elboroom as er

@er.model
def pair(y):
    m = er.sample("m", er.Normal(0.0, 10.0))
    s = er.sample("s", er.HalfNormal(5.0))
    er.observe("y", er.Normal(m, s), y)

posterior = er.fit(pair(np.linspace(0.0, 3.0, 12)), guide="laplace", refine=False, progress=False)
refined = posterior.refine(num_draws=20, kernel="nuts", progress=False)
spread = max(len(a.sharding.device_set) for a in jax.live_arrays())
np.savez(sys.argv[1], z=refined.z, spread=spread)
"""


def test_chains_on_two_devices_draw_what_they_draw_on_one(tmp_path):
    found = {}
    for devices in (1, 2):
        flags = f"--xla_force_host_platform_device_count={devices}"
        path = tmp_path / f"{devices}.npz"
        command = [sys.executable, "-c", SCRIPT, str(path)]
        subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, check=True, timeout=300)
        found[devices] = np.load(path)
    assert found[1]["spread"] == 1 and found[2]["spread"] == 2
    assert np.allclose(found[1]["z"], found[2]["z"], atol=1e-6)
