"""Training on the clock: what `vae.py` and `vae_cells.py` keep of ours and of others, scored alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

DRAWS = 1000


class Course:
    """Test bounds on the way, with the clock at rest while they are made.

    Parameters
    ----------
    clock : {"cpu", "wall"}
    test : array, or tuple of them
        Rows that nobody has seen.
    limit : float
        Seconds of training; 0 for no limit.
    weigh : callable
        ``weigh(arrays, test, draws)``: log importance weights of the test rows, ``(draws, rows)``.
    """

    def __init__(self, clock: str, test, limit: float, weigh):
        self.now = time.process_time if clock == "cpu" else time.perf_counter
        self.test, self.limit, self.weigh, self.paused = test, limit or np.inf, weigh, 0.0
        self.begin, self.seen, self.best, self.at_best = self.now(), [], -np.inf, None

    @property
    def seconds(self) -> float:
        return self.now() - self.begin - self.paused

    def scores(self, arrays) -> tuple[float, float]:
        """Bound by 1,000 weights, and evidence lower bound, of a test row on average."""
        from scipy.special import logsumexp

        found = self.weigh(arrays, self.test, DRAWS)
        return float((logsumexp(found, axis=0) - np.log(DRAWS)).mean()), float(found.mean())

    def look(self, num_rows: int, arrays) -> bool:
        """Keep the bound after so many rows of `arrays()`, and say whether time is up."""
        at, start = self.seconds, self.now()
        p = {k: np.asarray(v, np.float32) for k, v in arrays().items()}
        value = float(self.weigh(p, self.test, 20).mean())
        if value > self.best:
            self.best, self.at_best = value, p
        self.seen.append((at, num_rows, value))
        self.last = p
        self.paused += self.now() - start
        return at > self.limit

    def report(self) -> dict:
        """What is told of a peer."""
        at, rows, values = np.array(self.seen).T
        each = np.diff(at, prepend=0.0)
        steady = float(np.median(each[1:]))
        bound, elbo = self.scores(self.last)
        return {
            "seconds": at[-1],
            "compile": max(each[0] - steady, 0.0),
            "speed": float(np.median(np.diff(rows))) / steady,
            "bound": bound,
            "elbo": elbo,
            "best": self.scores(self.at_best)[0],
            "course": list(zip(at.tolist(), values.tolist(), strict=True)),
        }


class Reached(Exception):
    """Leaves a fit where its training has ended."""


def ours(program, guide, named, course: Course, backend: str, options, objective=None) -> dict:
    """Our fit with its defaults; the test bound of what it would give is kept each time that it looks at held-out rows.

    `named` gives learned arrays the names that the score knows.
    """
    from elboroom.inference.deep.training import Training
    from elboroom.inference.thresholds import DEEP_PILOT_STEPS

    import elboroom as er

    held, ended = [-np.inf], {}
    look_at, run = Training.look, Training.run

    def look(training, params):
        found = look_at(training, params)
        if found.bound > held[0]:
            held[0] = found.bound
            course.look(0, lambda: named(params["weights"]))
        else:
            course.seen.append((course.seconds, 0, course.seen[-1][2] if course.seen else -np.inf))
        return found

    def to_the_end(training, *args):
        ended["trained"], ended["seconds"] = run(training, *args), course.seconds
        ended["size"] = training.size
        if not options.evidence:
            raise Reached
        return ended["trained"]

    Training.look, Training.run, verdict = look, to_the_end, ""
    try:
        posterior = er.fit(
            program,
            guide=guide,
            backend=backend,
            seed=options.seed,
            objective=objective,
            max_seconds=options.seconds or None,
            progress=False,
        )
        verdict = f"; evidence {course.seconds - ended['seconds']:.1f} s, {posterior.verdict}"
    except Reached:
        pass
    trained, at = ended["trained"], np.array([row[0] for row in course.seen])
    blocks = np.diff(at)[np.diff(at) > 0.02 * np.diff(at).max()]  # some looks see two sets of arrays
    score = course.scores(named(trained.params["weights"]))
    steps = float(np.median(np.diff(trained.bounds[:, 0]))) / float(np.median(blocks))  # a second
    return {
        "seconds": ended["seconds"],
        "compile": max(ended["seconds"] - (trained.num_steps + DEEP_PILOT_STEPS) / steps, 0.0),
        "speed": steps * ended["size"],
        "bound": score[0],
        "elbo": score[1],
        "best": course.scores(course.at_best)[0],
        "course": [(at, value) for at, _, value in course.seen],
        "words": f"{trained.num_steps} steps of {ended['size']} rows at rate {trained.rate:g}: {trained.reason}{verdict}",
    }


HEAD = f"{'L_1000':>8s} {'at best':>8s} {'ELBO':>8s} {'s':>7s} {'compiled':>8s} {'rows/s':>7s}"


def line(who: str, got: dict) -> str:
    """One row of a table."""
    return (
        f"{who:14s} {got['bound']:8.2f} {got['best']:8.2f} {got['elbo']:8.2f} {got['seconds']:7.1f} "
        f"{got['seconds'] - got['compile']:8.1f} {got['speed']:7.0f}  {got.get('words', '')}"
    )


def reached(course, bound: float) -> float:
    """Seconds until a test bound was reached; infinite where it never was."""
    return next((at for at, value in course if value >= bound), np.inf)


def ratio(own: dict, peer: dict) -> str:
    """Our seconds to a peer's test bounds over its own, and rows in a second."""
    values = [value for _, value in peer["course"]]
    last, best = values[-1], max(values)
    end = reached(own["course"], last) / peer["seconds"]
    top = reached(own["course"], best) / reached(peer["course"], best)
    return (
        f"last test bound {end:.2f}, best {top:.2f} of its seconds; {own['speed'] / peer['speed']:.2f} of its "
        f"rows a second; L_1000 {own['bound'] - peer['bound']:+.2f}, {own['bound'] - peer['best']:+.2f} to its best"
    )


def timed(options, script: str, what: str, python: str = sys.executable) -> dict:
    """What a worker of a script tells, in a process of its own, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, script, "--worker", what, "--clock", options.clock]
        command += ["--evidence"] if options.evidence else []
        for name in ("seed", "epochs", "seconds"):
            command += [f"--{name}", str(getattr(options, name))]
        env = {**os.environ, "ELBOROOM_CACHE": folder}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])
