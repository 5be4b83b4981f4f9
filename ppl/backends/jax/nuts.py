"""NumPyro's NUTS on a density, in coordinates of an affine frame or of a flow, chains in lockstep on each device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

from .arrays import Function, precision, to_device
from .kept import Kept, source

CHAINS, WHOLE = PartitionSpec("chain"), PartitionSpec()  # shared out among devices; whole on each
FIELDS = ("num_steps", "accept_prob", "diverging", "energy")


class Sampler:
    """Chains of NUTS on ``z = mean + scale x``, or with the layers T of a flow on ``z = mean + scale T(x)``.

    Parameters
    ----------
    density : Density
        What the chains draw from.
    num_warmup : int
        Iterations that set the step size, and the metric where it is adapted.
    metric : {None, "diagonal", "dense"}
        The metric in x that the warm-up adapts; None leaves the identity.
    flow : Flow, optional
        Whose base coordinates the chains move in; None for those of the frame alone.
    """

    def __init__(self, density, num_warmup: int, metric: str | None, flow=None):
        self._density, self._settings, self._flow = density, (num_warmup, metric), flow
        self.dtype = density.dtype
        first = jax.vmap(self._first, (0, 0, 0, 0, None, None, None))
        self._begin = Function(first, self.dtype, density.clock, check=density.verify)
        self._runs: dict = {}

    def _on(self, mesh: Mesh) -> Function:
        """Many iterations, the chains shared out among devices that need not wait for each other."""
        if mesh.size not in self._runs:
            settings = {"dtype": self.dtype, "clock": self._density.clock, "check": self._density.verify}
            if mesh.size == 1 and self._flow is None:
                self._runs[1] = Kept(self._many, identity=self._identity, **settings)
            elif mesh.size == 1:
                self._runs[1] = Function(self._many, **settings)
            else:
                taken, given = (CHAINS, WHOLE, WHOLE, WHOLE), (CHAINS, PartitionSpec(None, "chain"))
                many = jax.shard_map(self._many, mesh=mesh, in_specs=taken, out_specs=given, check_vma=False)
                self._runs[mesh.size] = Function(many, **settings)
        return self._runs[mesh.size]

    def _identity(self, leaves, accept, count, given) -> bytes:
        """What decides the trace of `_many`: the traced program, and the settings."""
        if self._density.fingerprint is None:
            raise NotImplementedError("a program that cannot be identified")
        return f"{self._settings} {self._density.fingerprint}".encode() + source(__file__)

    def _kernel(self, place, step_size, accept, key, given):
        num_warmup, metric = self._settings
        x = place.z
        begin, sample = hmc(potential_fn_gen=self._potential, algo="NUTS")
        state = begin(
            place,
            num_warmup,
            step_size=step_size,
            inverse_mass_matrix=None if metric else jnp.ones(x.shape, x.dtype),
            adapt_mass_matrix=metric is not None,
            dense_mass=metric == "dense",
            target_accept_prob=accept,
            max_tree_depth=10 if metric else 8,  # in a frame that fits, longer paths only turn back
            model_args=given,
            rng_key=key,
        )
        return state, sample

    def _potential(self, frame, data, weights):
        mean, scale, *layers = frame

        def potential(x):
            bent = 0.0
            if self._flow is not None:
                (x,), (bent,) = self._flow.through(x[None], *layers)
            z = mean + (scale @ x if scale.ndim == 2 else scale * x)
            return -self._density.scaled_total(z, data, weights, {}) - bent

        return potential

    def _first(self, seed, x, value, grad, step_size, accept, given):
        place, key = ParamInfo(x, -value, -grad), jax.random.PRNGKey(seed)
        return self._kernel(place, step_size, accept, key, given)[0]

    def _many(self, leaves, accept, count, given):
        state = jax.tree_util.tree_unflatten(self._tree, leaves)
        # what the kernel keeps of its beginning belongs to the trace that made it
        one = jax.tree_util.tree_map(lambda leaf: leaf[0], state)
        place = ParamInfo(one.z, one.potential_energy, one.z_grad)
        _, sample = self._kernel(place, one.adapt_state.step_size, accept, one.rng_key, given)

        def step(state, _):
            state = jax.vmap(lambda s: sample(s, given, {}))(state)
            return state, (state.z, *(getattr(state, name) for name in FIELDS))

        state, out = jax.lax.scan(step, state, count)
        return jax.tree_util.tree_leaves(state), out

    def begin(  # noqa: PLR0913, PLR0917  as the protocol has it
        self, seeds, x, value, grad, step_size: float, accept: float, frame, data, weights
    ):
        """State of chains that start at `x`, shape ``(C, dim)``.

        Parameters
        ----------
        seeds : sequence of int, length C
            One for each chain: it fixes all random numbers of its chain.
        x : numpy.ndarray, shape (C, dim)
            Where the chains start, in coordinates of the frame.
        value, grad : numpy.ndarray, shapes (C,) and (C, dim)
            Log density there and its gradient in x.
        step_size : float
            The first, in units of x; the warm-up adapts it.
        accept : float
            Acceptance that the step size aims at.
        frame : tuple
            Mean and scale; of a flow its weights and order also.
        data, weights : mapping
            The traced arguments and the learnable arrays by name, on the device.
        """
        real = self.dtype.type
        frame = jax.tree_util.tree_map(lambda part: to_device(part, self.dtype), tuple(frame))
        places = (np.asarray(part, self.dtype) for part in (x, value, grad))
        given = frame, data, weights
        state = self._begin(np.asarray(seeds), *places, real(step_size), real(accept), given)
        leaves, self._tree = jax.tree_util.tree_flatten(state)
        local = jax.local_devices()
        most = max(n for n in range(1, len(local) + 1) if len(x) % n == 0)
        mesh = Mesh(np.array(local[:most]), "chain")
        if most > 1:
            with precision(self.dtype):
                leaves = jax.device_put(leaves, NamedSharding(mesh, CHAINS))
                given = jax.device_put(given, NamedSharding(mesh, WHOLE))
        return leaves, real(accept), given, mesh

    def run(self, state, count: int):
        """The state after `count` more iterations, and what they gave.

        Returns
        -------
        tuple
            The state, and a mapping of arrays ``(C, count, …)``: ``x`` and NUTS's statistics.
        """
        leaves, accept, given, mesh = state
        leaves, out = self._on(mesh)(leaves, accept, np.zeros(count), given)
        named = dict(zip(("x", *FIELDS), out, strict=True))
        with precision(self.dtype):
            found = {name: np.moveaxis(np.asarray(value), 0, 1) for name, value in named.items()}
        return (leaves, accept, given, mesh), found


def sampler(density, num_warmup: int, metric: str | None, flow=None) -> Sampler:
    """The no-U-turn sampler on a density, in the base coordinates of a flow where one is given."""
    return Sampler(density, num_warmup, metric, flow)
