"""Beside jax_privacy and opacus, where they are installed (`.ci/private`): the same clipped sums, and an audit by other hands."""

import numpy as np
import pytest
from elboroom.inference.private.accounting import epsilon_of
from elboroom.inference.private.clipped import COUNTED, LEFT, clipped_sum, released
from elboroom.inference.thresholds import CLIPPED_SHORT

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((64, 5)) * 10.0 ** RNG.uniform(-1, 1, (64, 1))).astype(np.float32)
Y = (RNG.random(64) < 0.5).astype(np.float32)
W, CLIP = RNG.standard_normal(5).astype(np.float32), 0.8
MOST = CLIP * LEFT * (1 - CLIPPED_SHORT)
"""What is left for gradients, beside the count and rounding."""


def ours():
    """Sum of clipped gradients of a logistic loss, by hand."""
    logits = X @ W
    each = (1 / (1 + np.exp(-logits)) - Y)[:, None] * X
    return clipped_sum({"w": each}, np.ones(64, np.float32), CLIP)["w"]


def test_sums_are_those_of_jax_privacy():
    clipping = pytest.importorskip("jax_privacy.clipping", reason="jax_privacy is not installed")
    import jax.numpy as jnp

    def loss(w, x, y):
        logits = x @ w
        return jnp.sum(jnp.logaddexp(0.0, logits) - y * logits)

    theirs = clipping.clipped_grad(loss, batch_argnums=(1, 2), l2_clip_norm=MOST)(W, X, Y)
    np.testing.assert_allclose(ours(), theirs, rtol=2e-5, atol=2e-5)


def test_sums_are_those_of_opacus():
    opacus = pytest.importorskip("opacus", reason="opacus is not installed")
    import torch
    from opacus.optimizers import DPOptimizer

    net = torch.nn.Linear(5, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(W)[None])
    model = opacus.GradSampleModule(net, loss_reduction="sum")
    optimiser = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=MOST,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    logits = model(torch.tensor(X))[:, 0]
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(Y), reduction="sum").backward()
    optimiser.pre_step()
    np.testing.assert_allclose(ours(), net.weight.grad.numpy()[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("noise, kept", [(1.0, True), (0.25, False)])
def test_another_audit_finds_no_more_than_is_accounted_for(noise, kept):
    """Of sums with and without a canary, whose noise is as much as is said, or a quarter of it."""
    auditing = pytest.importorskip("jax_privacy.auditing", reason="jax_privacy is not installed")
    rng, canary = np.random.default_rng(1), {"w": np.array([[0.0], [1e6]])}
    constants = {"clip": 1.0, "noise": noise, "rate": 1.0}
    scores = {}
    for there in (1.0, 0.0):
        draws = [{"w": rng.standard_normal(1), COUNTED: 0.0} for _ in range(4000)]
        given = [{"present": np.array([1.0, there]), "noise": draw} for draw in draws]
        scores[there] = np.array([released(canary, one, constants)["w"][0] for one in given])
    auditor = auditing.CanaryScoreAuditor(scores[1.0], scores[0.0])
    found = auditor.epsilon_clopper_pearson(significance=0.01, delta=1e-3)
    assert (found <= epsilon_of(1.0, 1e-3, 1, 1.0)) == kept
