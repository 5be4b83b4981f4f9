"""Every kind of latent-variable model on the same digits, beside pythae's where it has it.

    python benchmarks/variants.py [--only basic vamp ...] [--seed 0] [--epochs 1000]

Rows are scikit-learn's 1,797 digits of 8 by 8 pixels, cut at one half, a tenth of them for testing. Networks have one layer of 256
softplus units either way and 8 latent coordinates. pythae's are trained as on its first page (AdamW at 0.001, batches of 200, a rate
that falls on plateaus, the best by a tenth of the rows); ours have no rate, no batch and no number of epochs to give.

The score is the bound of a test row by 1,000 importance weights under each one's own encoder, prior and decoder, by the same formula for
all: ours by ``latent.score``, pythae's by its networks. Of a codebook it is the log probability of the row with its nearest codes, the
prior of these included; of rows that a critic puts where the prior is, by 1,000 draws about the encoder's answer, with an sd that is the
same for both. CPU seconds of training, compilation included; ours with the weighing of rows, which peers do not have. Each
runs in a process of its own on one thread.
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
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402  after the number of threads

import elboroom as er  # noqa: E402

HIDDEN, UNITS, PIXELS, LABELS = 256, 8, 64, 10
CODES = 512
DRAWS = 1000
ABOUT = 0.4
"""Sd of draws about an adversarial encoder's answer; half or twice of it make either's bound less."""


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows to train on, rows to test on, and their labels as ones and zeros."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x, label = (
        (digits.data > 7).astype(np.float32)[order],
        np.eye(LABELS, dtype=np.float32)[digits.target[order]],
    )
    count = len(x) // 10
    return x[count:], x[:count], label[count:], label[:count]


# -- ours -------------------------------------------------------------------------------------------------


def mlp(num_in, num_out):
    return er.nn.MLP(num_in, [HIDDEN], num_out, activation="softplus")


def networks(num_out=2 * UNITS):
    """A decoder, beside an encoder that a prior may share."""
    er.module("encode", mlp(PIXELS, num_out))
    return er.module("decode", mlp(UNITS, PIXELS))


def pixels(logits, x):
    er.observe("x", er.Bernoulli(logits=logits).to_event(1), x)


def normal():
    return er.Normal(0, 1).expand([UNITS]).to_event(1)


def mixture():
    start = np.random.default_rng(0).normal(size=(LABELS, UNITS))
    loc, scale = er.param("loc", start), er.math.exp(er.param("log_scale", np.zeros((LABELS, UNITS))))
    share = er.Categorical(logits=er.param("share", np.zeros(LABELS)))
    return er.MixtureSameFamily(share, er.Normal(loc, scale).to_event(1))


@er.model
def one(x, prior):
    decode = networks()
    with er.plate("row", len(x)):
        pixels(decode(er.sample("z", prior())), x)


@er.model
def conditional(x, c):
    decode = er.module("decode", mlp(UNITS + LABELS, PIXELS))
    with er.plate("row", len(x)):
        pixels(decode(er.math.concat([er.sample("z", normal()), c], -1)), x)


def ladder(*sizes):
    """Latent arrays of these sizes, each of the one before it."""

    @er.model
    def rungs(x):
        decode = er.module("decode", mlp(UNITS, PIXELS))
        with er.plate("row", len(x)):
            z = er.sample(f"z{len(sizes)}", er.Normal(0, 1).expand([sizes[0]]).to_event(1))
            for place, (few, many) in enumerate(pairwise(sizes)):
                up = er.module(f"up{place}", mlp(few, 2 * many))(z)
                law = er.Normal(up[:, :many], er.math.exp(up[:, many:])).to_event(1)
                z = er.sample(f"z{len(sizes) - 1 - place}", law)
            pixels(decode(z), x)

    return rungs


@er.model
def codes(x):
    decode = networks(UNITS)
    with er.plate("row", len(x)):
        pixels(decode(er.sample("z", er.Codebook("codes", CODES, UNITS))), x)


@er.model
def adversarial(x):
    decode = networks(UNITS)
    with er.plate("row", len(x)):
        pixels(decode(er.sample("z", normal())), x)


def variants() -> dict:
    """Programs by rows and labels, and what is asked of their fits."""
    own, flow = er.Amortized("encode"), partial(er.priors.Flow, "affine", UNITS)
    plain = lambda x, _c: one(x, normal)  # noqa: E731
    weighted = er.objectives.ImportanceWeighted(5)
    return {
        "basic": (plain, own, None),
        "beta 4": (plain, own, er.objectives.Elbo(beta=4.0)),
        "beta-TC 6": (plain, own, er.objectives.Elbo(total_correlation=6.0)),
        "weighted 5": (plain, own, weighted),
        "dense posterior": (plain, er.Amortized(within="full-rank"), None),
        "flow posterior": (plain, er.Amortized(within="flow"), None),
        "mixture": (lambda x, _c: one(x, mixture), own, None),
        "vamp 100": (lambda x, _c: one(x, partial(er.priors.VampPrior, "encode", 100)), own, None),
        "flow prior": (lambda x, _c: one(x, flow), own, None),
        "conditional": (conditional, er.Amortized(), None),
        "two ladders": (lambda x, _c: ladder(4, UNITS)(x), er.Amortized(), None),
        "three ladders": (lambda x, _c: ladder(2, 4, UNITS)(x), er.Amortized(), None),
        "codebook": (lambda x, _c: codes(x), er.Quantized("encode"), None),
        "adversarial": (lambda x, _c: adversarial(x), er.Adversarial("encode"), None),
    }


def ours(which: str, options) -> dict:
    """Our fit of a variant."""
    train, test, label, other = data()
    make, guide, objective = variants()[which]
    begin = time.process_time()
    posterior = er.fit(
        make(train, label), guide=guide, objective=objective, seed=options.seed, progress=False, num_draws=500
    )
    seconds = time.process_time() - begin
    if which == "adversarial":
        decoded = lambda z: posterior.latent.decode(z)["x"].to_numpy()  # noqa: E731
        bound, elbo = about(decoded, posterior.latent.embed(test), test)
        return {"bound": bound, "elbo": elbo, "seconds": seconds}
    rows = {"x": test, "c": other} if which == "conditional" else test
    found = posterior.latent.score(rows, DRAWS)
    return {
        "bound": float(found["log_prob"].mean()),
        "elbo": float(found["bound"].mean()),
        "seconds": seconds,
    }


def about(decoded, place, x) -> tuple[float, float]:
    """Bounds by 1,000 weights and by one of rows ``(n, 64)``, by draws about a place of each."""
    rng, ratios = np.random.default_rng(1), []
    for _ in range(DRAWS):
        eps = rng.normal(size=place.shape)
        z = place + ABOUT * eps
        p = np.clip(decoded(z), 1e-7, 1 - 1e-7)
        told = np.where(x > 0.5, np.log(p), np.log1p(-p)).sum(1)
        ratios.append(told + (0.5 * eps**2 + np.log(ABOUT) - 0.5 * z**2).sum(1))
    return float((np.logaddexp.reduce(ratios) - np.log(DRAWS)).mean()), float(np.mean(ratios))


# -- pythae's ---------------------------------------------------------------------------------------------


def peers() -> dict:
    """pythae's models and settings of theirs."""
    from pythae import models

    sizes = {"input_dim": (PIXELS,), "latent_dim": UNITS, "reconstruction_loss": "bce"}
    return {
        "basic": (models.VAE, models.VAEConfig(**sizes)),
        "beta 4": (models.BetaVAE, models.BetaVAEConfig(**sizes, beta=4.0)),
        "beta-TC 6": (models.BetaTCVAE, models.BetaTCVAEConfig(**sizes, beta=7.0)),
        "weighted 5": (models.IWAE, models.IWAEConfig(**sizes, number_samples=5)),
        "vamp 100": (models.VAMP, models.VAMPConfig(**sizes, number_components=100)),
        "adversarial": (models.Adversarial_AE, models.Adversarial_AE_Config(**sizes)),
        "codebook": (models.VQVAE, models.VQVAEConfig(input_dim=(PIXELS,), latent_dim=UNITS, num_embeddings=CODES)),
    }  # fmt: skip


def pythae(which: str, options) -> dict:
    """pythae's pipeline."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import AdversarialTrainer, AdversarialTrainerConfig, BaseTrainer, BaseTrainerConfig
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    logging.disable(logging.INFO)
    kind, config = peers()[which]

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.inner, self.mean = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, UNITS)
            self.log_variance = nn.Linear(HIDDEN, UNITS)

        def forward(self, x):
            hidden = nn.functional.softplus(self.inner(x.reshape(len(x), -1)))
            mean = self.mean(hidden)
            if which == "codebook":  # one place of eight channels, not eight places of one
                mean = mean[:, :, None, None]
            return ModelOutput(embedding=mean, log_covariance=self.log_variance(hidden))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.inner, self.out = nn.Linear(UNITS, HIDDEN), nn.Linear(HIDDEN, PIXELS)

        def forward(self, z):
            z = z.reshape(len(z), -1)
            return ModelOutput(reconstruction=torch.sigmoid(self.out(nn.functional.softplus(self.inner(z)))))

    train, test, _, _ = data()
    held = len(train) // 10
    model = kind(config, encoder=Encoder(), decoder=Decoder())
    sets = [BaseDataset(torch.as_tensor(x), torch.zeros(len(x))) for x in (train[held:], train[:held])]
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"per_device_train_batch_size": 200, "per_device_eval_batch_size": 200, "seed": options.seed}
        if which == "adversarial":  # with the optimisers that it has by itself
            trainers = AdversarialTrainer
            asked = AdversarialTrainerConfig(output_dir=folder, num_epochs=options.epochs, **sizes)
        else:
            trainers = BaseTrainer
            asked = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=options.epochs,
                learning_rate=1e-3,
                optimizer_cls="AdamW",
                optimizer_params={"weight_decay": 0.05, "betas": (0.91, 0.995)},
                scheduler_cls="ReduceLROnPlateau",
                scheduler_params={"patience": 5, "factor": 0.5},
                **sizes,
            )
        trainer = trainers(model, *sets, training_config=asked)
        trainer.prepare_training()
        trainer.save_model = lambda *_, **__: None
        trainer.train()
        model = trainer._best_model.eval()  # noqa: SLF001  what it gives has no public name before it is saved
    seconds = time.process_time() - begin
    with torch.no_grad():
        score = {"codebook": coded, "adversarial": placed}.get(which, weighed)
        bound, elbo = score(model, torch.as_tensor(test), torch.as_tensor(train))
    return {"bound": bound, "elbo": elbo, "seconds": seconds}


def likelihood(model, z, x):
    """Log probability of pixels at coordinates ``(rows, units)``."""
    import torch

    p = model.decoder(z).reconstruction.clamp(1e-7, 1 - 1e-7)
    return torch.where(x > 0.5, p.log(), (1 - p).log()).sum(-1)


def weighed(model, x, _train) -> tuple[float, float]:
    """Bounds by 1,000 weights and by one, of a model with an encoder of normals; its prior is normal, or at its pseudo-inputs."""
    import torch

    found = model.encoder(x)
    law = torch.distributions.Normal(found.embedding, (0.5 * found.log_covariance).exp())
    prior = torch.distributions.Normal(torch.zeros(UNITS), torch.ones(UNITS))
    if hasattr(model, "pseudo_inputs"):
        own = model.encoder(model.pseudo_inputs(model.idle_input).reshape(-1, PIXELS))
        parts = torch.distributions.Normal(own.embedding, (0.5 * own.log_covariance).exp())
        mixing = torch.distributions.Categorical(logits=torch.zeros(len(own.embedding)))
        mixed = torch.distributions.MixtureSameFamily(mixing, torch.distributions.Independent(parts, 1))
        log_prior = mixed.log_prob
    else:
        log_prior = lambda z: prior.log_prob(z).sum(-1)  # noqa: E731
    torch.manual_seed(1)
    ratios = []
    for _ in range(DRAWS):
        z = law.sample()
        ratios.append(likelihood(model, z, x) + log_prior(z) - law.log_prob(z).sum(-1))
    ratios = torch.stack(ratios).double()
    return float((ratios.logsumexp(0) - np.log(DRAWS)).mean()), float(ratios.mean())


def placed(model, x, _train) -> tuple[float, float]:
    """Bounds by draws about the encoder's means."""
    import torch

    def decoded(z):
        return model.decoder(torch.as_tensor(z, dtype=torch.float32)).reconstruction.numpy()

    return about(decoded, model.encoder(x).embedding.numpy(), x.numpy())


def coded(model, x, train) -> tuple[float, float]:
    """Log probability of rows with their nearest codes, whose probabilities are their shares in the training rows, one more each."""
    import torch

    table = model.quantizer.embeddings
    table = getattr(table, "weight", table)

    def nearest(rows):
        return torch.cdist(model.encoder(rows).embedding.flatten(1), table).argmin(1)

    share = 1.0 + torch.bincount(nearest(train), minlength=len(table)).double()
    code = nearest(x)
    value = likelihood(model, table[code], x) + (share / share.sum()).log()[code]
    return float(value.mean()), float(value.mean())


# -- the run ----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        whose, which = options.worker.split("/")
        print(json.dumps({"ours": ours, "pythae": pythae}[whose](which, options)))
        return
    beside = peers() if find_spec("pythae") else {}
    if not beside:
        print("pythae is not installed: its columns are left out")
    print(f"{'':16}{'ours':>9}{'elbo':>9}{'s':>7}   {'pythae':>9}{'elbo':>9}{'s':>7}")
    for which in options.only or variants():
        line = f"{which:16}"
        for whose in ("ours", *(["pythae"] if which in beside else [])):
            asked = [sys.executable, __file__, "--worker", f"{whose}/{which}", "--seed", str(options.seed),
                     "--epochs", str(options.epochs)]  # fmt: skip
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if done.returncode:
                line += f"   failed: {done.stderr.strip().splitlines()[-1][:60]}"
                continue
            found = json.loads(done.stdout.strip().splitlines()[-1])
            line += f"{found['bound']:9.2f}{found['elbo']:9.2f}{found['seconds']:7.0f}   "
        print(line, flush=True)


if __name__ == "__main__":
    main()
