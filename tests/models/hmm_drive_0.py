"""Basketball drives: two hidden states, seen through two positive measurements."""

from elboroom.ppl import constraints

import elboroom as er


def rates(name):
    """Two rates in increasing order, near 0 and 3."""
    rate = er.sample(name, er.ImproperUniform(constraints.positive_ordered_vector, event_shape=(2,)))
    er.factor(
        f"{name}_prior", -0.5 * (rate - er.math.linspace(0, 3, 2)) ** 2 - 0.5 * er.math.log(2 * er.math.pi)
    )
    return rate


def moves(alpha):
    """Rows of the transition matrix."""
    return er.math.stack([er.sample(f"theta{k + 1}", er.Dirichlet(alpha[k])) for k in range(2)])


@er.model
def hmm_drive_0(alpha, u, v):
    """The path of states as a site, which is summed out."""
    move, phi, lam = moves(alpha), rates("phi"), rates("lambda")
    state = er.sample("state", er.MarkovChain([0.5, 0.5], move, len(u)))
    with er.plate("time", len(u)):
        er.observe("u", er.Exponential(phi[state]), u)
        er.observe("v", er.Exponential(lam[state]), v)


@er.model
def hmm_drive_0_forward(alpha, u, v):
    """The sum over paths written out: the forward algorithm."""
    log_move, phi, lam = er.math.log(moves(alpha)), rates("phi"), rates("lambda")
    seen = er.math.log(phi) - phi * u[:, None] + er.math.log(lam) - lam * v[:, None]

    def step(alpha, seen):
        return er.math.logsumexp(alpha[:, None] + log_move, axis=0) + seen, None

    last, _ = er.scan(step, seen[0] - er.math.log(2), seen[1:])
    er.factor("drives", er.math.logsumexp(last))
