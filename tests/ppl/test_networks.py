"""Networks: the same numbers on both backends and as libraries give; models with modules and learned arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

import elboroom as er

NETWORKS = {
    "dense": (er.nn.MLP(4, [6, 5], 3), [(2, 3, 4)]),
    "linear": (er.nn.MLP(4, [], 3), [(4,)]),
    "convolution": (er.nn.Conv((9, 7), [3, 4], 5, hidden=[6]), [(2, 3, 63)]),
    "convolution with channels": (er.nn.Conv((8, 6, 2), [3], 5, kernel=4), [(3, 8, 6, 2)]),
    "no stride": (er.nn.Conv((4, 5), [2, 2], 3, stride=1, activation="relu"), [(4, 5)]),
    "transposed": (er.nn.Deconv(4, (9, 7), [4, 3]), [(2, 3, 4)]),
    "transposed with channels": (er.nn.Deconv(4, (8, 6, 2), [3], kernel=4, hidden=[5]), [(3, 4)]),
    "stride of three": (er.nn.Deconv(4, (7, 8), [3, 2], kernel=5, stride=3, activation="tanh"), [(4,)]),
    "recurrent": (er.nn.GRU(3, 5, 2), [(2, 4, 6, 3)]),
    "last state": (er.nn.GRU(3, 5, 2, last=True), [(4, 6, 3)]),
    "causal": (er.nn.Causal(3, 5, 2), [(4, 6, 3)]),
    "causal with a context": (er.nn.Causal(3, 5, 2, num_context=2), [(1, 4, 6, 3), (2, 1, 2)]),
}
ACTIVATIONS = sorted(er.nn.ACTIVATIONS)


def filled(net, seed=0):
    """Weights that are zero nowhere."""
    rng = np.random.default_rng(seed)
    return {k: rng.normal(scale=0.4, size=v.shape) for k, v in net.arrays(rng).items()}


def draws(shapes, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def on_torch(net, weights, *inputs):
    weights = {k: torch.as_tensor(v) for k, v in weights.items()}
    return net.apply(weights, *map(torch.as_tensor, inputs)).numpy()


# -- the networks of er.nn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_and_gradients_are_the_same_on_both_backends(name):
    net, shapes = NETWORKS[name]
    weights, inputs = filled(net), draws(shapes)
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}
    out = net.apply(tensors, *map(torch.as_tensor, inputs))
    torch.sin(out).sum().backward()
    with jax.enable_x64(True):
        made = jax.jit(net.apply)(weights, *inputs)
        slopes = jax.grad(lambda w: jnp.sin(net.apply(w, *map(jnp.asarray, inputs))).sum())(weights)
    assert made.dtype == np.float64 and out.dtype == torch.float64
    np.testing.assert_allclose(made, out.detach(), atol=1e-12)
    np.testing.assert_allclose(net.apply(weights, *inputs), out.detach(), atol=1e-12)
    for key, tensor in tensors.items():
        np.testing.assert_allclose(slopes[key], tensor.grad, atol=1e-10, err_msg=key)
        assert np.abs(slopes[key]).max() > 1e-6, key


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_are_treated_alike(name):
    net, shapes = NETWORKS[name]
    weights, inputs = filled(net), draws(shapes)
    together = net.apply(weights, *[np.stack([x, 2 * x]) for x in inputs])
    for i, scale in enumerate((1, 2)):
        np.testing.assert_allclose(together[i], net.apply(weights, *[scale * x for x in inputs]), atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_single_precision_stays(name):
    net, shapes = NETWORKS[name]
    weights = {k: v.astype(np.float32) for k, v in filled(net).items()}
    inputs = draws(shapes)
    with jax.enable_x64(True):
        assert net.apply({k: jnp.asarray(v) for k, v in weights.items()}, *inputs).dtype == np.float32
    assert on_torch(net, weights, *inputs).dtype == np.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_depend_on_their_seed_alone(name):
    net, _ = NETWORKS[name]
    one, again, other = (net.arrays(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert list(one) == list(again) and all(np.array_equal(one[k], again[k]) for k in one)
    assert any(not np.array_equal(one[k], other[k]) for k in one)
    assert all(not value.any() for k, value in one.items() if k.endswith("bias"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_layers_are_those_of_equinox(activation):
    import equinox as eqx

    theirs = {
        **{"relu": jax.nn.relu, "silu": jax.nn.silu, "softplus": jax.nn.softplus},
        **{"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "identity": lambda x: x},
    }
    with jax.enable_x64(True):
        other = eqx.nn.MLP(4, 3, 6, 2, activation=theirs[activation], key=jax.random.key(0))
        net = er.nn.MLP(4, [6, 6], 3, activation)
        weights = {}
        for i, layer in enumerate(other.layers):
            weights |= {f"layers.{i}.weight": layer.weight, f"layers.{i}.bias": layer.bias}
        (x,) = draws([(5, 4)])
        np.testing.assert_allclose(net.apply(weights, x), jax.vmap(other)(x), atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 7, 2), (8, 8, 1), (5, 4, 3)])
@pytest.mark.parametrize("kernel, stride", [(3, 2), (3, 1), (4, 2), (5, 3), (2, 2), (1, 2)])
def test_convolutions_are_those_of_pytorch(shape, kernel, stride):
    net = er.nn.Conv(shape, [3, 4], 5, kernel=kernel, stride=stride)
    weights, (x,) = filled(net), draws([(2, *shape)])
    image = torch.as_tensor(x).movedim(-1, 1)
    tensors = {k: torch.as_tensor(v) for k, v in weights.items()}
    for i in range(2):
        sides = image.shape[-2:]
        extra = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in sides]
        (above, below), (left, right) = ((e // 2, e - e // 2) for e in extra)
        image = F.pad(image, (left, right, above, below))
        kernels, bias = tensors[f"convolutions.{i}.weight"], tensors[f"convolutions.{i}.bias"]
        image = F.silu(F.conv2d(image, kernels, bias, stride=stride))
    flat = image.movedim(1, -1).reshape(2, -1)
    expected = F.linear(flat, tensors["head.layers.0.weight"], tensors["head.layers.0.bias"])
    np.testing.assert_allclose(net.apply(weights, x), expected, atol=1e-12)
    np.testing.assert_allclose(net.apply(weights, x.reshape(2, -1)), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 7, 2), (8, 8), (5, 4, 3), (1, 6)])
@pytest.mark.parametrize("kernel, stride", [(3, 2), (3, 1), (4, 2), (5, 3), (2, 2), (3, 3)])
def test_transposed_convolutions_are_those_of_pytorch(shape, kernel, stride):
    net = er.nn.Deconv(3, shape, [4, 2], kernel=kernel, stride=stride)
    weights, (x,) = filled(net), draws([(2, 3)])
    tensors = {k: torch.as_tensor(v) for k, v in weights.items()}
    sides = [shape[:2]]
    for _ in range(2):
        sides.append(tuple(-(-n // stride) for n in sides[-1]))
    flat = F.linear(torch.as_tensor(x), tensors["head.layers.0.weight"], tensors["head.layers.0.bias"])
    image = flat.reshape(2, *sides[-1], 4).movedim(-1, 1)
    cut = kernel - 1 - (kernel - 1) // 2
    for i, (height, width) in enumerate(sides[1::-1]):
        kernels = tensors[f"convolutions.{i}.weight"]
        whole = F.conv_transpose2d(F.silu(image), kernels, stride=stride, output_padding=stride - 1)
        image = whole[..., cut : cut + height, cut : cut + width]
        image = image + tensors[f"convolutions.{i}.bias"][:, None, None]
    expected = image.movedim(1, -1).reshape(2, *shape)
    np.testing.assert_allclose(net.apply(weights, x), expected, atol=1e-12)


def test_a_stride_of_two_is_the_layer_of_pytorch():
    layer = torch.nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1, dtype=torch.float64)
    net = er.nn.Deconv(2, (8, 6), [4], activation="identity")
    weights, (x,) = filled(net), draws([(3, 2)])
    weights["convolutions.0.weight"] = layer.weight.detach().numpy()
    weights["convolutions.0.bias"] = layer.bias.detach().numpy()
    small = x @ weights["head.layers.0.weight"].T + weights["head.layers.0.bias"]
    image = torch.as_tensor(small.reshape(3, 4, 3, 4)).movedim(-1, 1)
    expected = layer(image)[:, 0].detach()
    np.testing.assert_allclose(net.apply(weights, x), expected, atol=1e-12)


@pytest.mark.parametrize("last", [False, True])
def test_a_state_over_time_is_that_of_pytorch(last):
    net = er.nn.GRU(3, 5, 2, last=last)
    weights, (x,) = filled(net), draws([(4, 6, 3)])
    other = torch.nn.GRU(3, 5, batch_first=True, dtype=torch.float64)
    names = {"weight_ih_l0": "input.weight", "weight_hh_l0": "state.weight"}
    names |= {"bias_ih_l0": "input.bias", "bias_hh_l0": "state.bias"}
    other.load_state_dict({theirs: torch.as_tensor(weights[ours]) for theirs, ours in names.items()})
    with torch.no_grad():
        states, _ = other(torch.as_tensor(x))
    states = states.numpy()[:, -1] if last else states.numpy()
    expected = states @ weights["out.weight"].T + weights["out.bias"]
    np.testing.assert_allclose(net.apply(weights, x), expected, atol=1e-12)


@pytest.mark.parametrize("num_context", [0, 2])
def test_causal_means_causal(num_context):
    net = er.nn.Causal(2, 5, 3, num_context=num_context)
    weights, (x, context) = filled(net), draws([(4, 6, 2), (4, 2)])
    rest = [context] if num_context else []
    before = net.apply(weights, x, *rest)
    for t in range(6):
        moved = x.copy()
        moved[:, t] += 1.0
        changed = np.abs(net.apply(weights, moved, *rest) - before).max((0, 2)) > 1e-9
        assert changed.tolist() == [s > t for s in range(6)]
    if num_context:
        changed = np.abs(net.apply(weights, x, context + 1.0) - before).max((0, 2)) > 1e-9
        assert changed.all()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: er.nn.MLP(0, [3], 1), "num_in of er.nn.MLP: expected a positive whole number, got 0"),
        (lambda: er.nn.MLP(1, 3, 1), "hidden of er.nn.MLP: expected a list of positive whole numbers, got 3"),
        (lambda: er.nn.MLP(1, [3], True), "num_out of er.nn.MLP"),
        (lambda: er.nn.MLP(1, [3], 1, "gelu"), "activation of er.nn.MLP: expected one of .*'silu'.*got 'gelu'"),
        (lambda: er.nn.Conv((28,), [3], 1), "shape of er.nn.Conv: expected .*2 at the least"),
        (lambda: er.nn.Conv((5, 28, 28, 1), [3], 1), r"shape of er.nn.Conv: expected \(height, width\) or"),
        (lambda: er.nn.Conv((28, 28), [], 1), "channels of er.nn.Conv: expected .*1 at the least"),
        (lambda: er.nn.Conv((28, 28), [3], 1, stride=0), "stride of er.nn.Conv"),
        (lambda: er.nn.Conv((28, 28), [3], 1.5), "num_out of er.nn.Conv.*got 1.5"),
        (lambda: er.nn.Deconv(2, (28, 28), [3], kernel=2, stride=3), "kernel of er.nn.Deconv: expected at least"),
        (lambda: er.nn.Deconv("2", (28, 28), [3]), "num_in of er.nn.Deconv.*got '2'"),
        (lambda: er.nn.GRU(1, [8], 1), r"num_hidden of er.nn.GRU.*got \[8\]"),
        (lambda: er.nn.Causal(1, 8, 1, num_context=-1), "num_context of er.nn.Causal: .*at least 0, got -1"),
    ],
)  # fmt: skip
def test_declarations_that_are_none_are_refused(make, words):
    with pytest.raises(er.ModelError, match=words):
        make()


@pytest.mark.parametrize(
    "net, shapes, words",
    [
        (er.nn.MLP(1, [3], 1), [(5,)], r"last axis has 1 numbers, got shape \(5,\). Give a column"),
        (er.nn.MLP(2, [3], 1), [()], r"last axis has 2 numbers, got shape \(\)"),
        (er.nn.Conv((4, 4), [3], 1), [(5, 15)], r"er.nn.Conv: expected images.*\(4, 4\) or 16 numbers"),
        (er.nn.Deconv(2, (4, 4), [3]), [(5, 3)], "er.nn.Deconv: .*last axis has 2 numbers"),
        (er.nn.GRU(2, 3, 1), [(2,)], "er.nn.GRU: .*after one of time"),
        (er.nn.Causal(2, 3, 1), [(5, 2), (2,)], "expected a sequence alone, got a context beside it"),
        (er.nn.Causal(2, 3, 1, num_context=2), [(5, 2)], "expected a context of 2 numbers, got none"),
        (er.nn.Causal(2, 3, 1, num_context=2), [(5, 2), (3,)], "context of er.nn.Causal: .*has 2 numbers"),
    ],
)
def test_inputs_of_another_shape_are_refused(net, shapes, words):
    with pytest.raises(er.ModelError, match=words):
        net.apply(filled(net), *draws(shapes))


# -- modules in a model ------------------------------------------------------------------------------------


def equinox_net():
    import equinox as eqx

    return eqx.nn.Sequential(
        [
            eqx.nn.Linear(2, 4, key=jax.random.key(0)),
            eqx.nn.LayerNorm(4),
            eqx.nn.Lambda(jnp.tanh),
            eqx.nn.Linear(4, 1, key=jax.random.key(1)),
        ]
    )


def torch_net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 4), torch.nn.LayerNorm(4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    )


def flax():
    return pytest.importorskip("flax.nnx", reason="flax is not installed: its modules are not looked at")


def flax_net():
    nnx = flax()

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(2, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs)
            self.second = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.second(jnp.tanh(self.norm(self.first(x))))

    return Net(nnx.Rngs(0))


LIBRARIES = {
    "equinox": (
        equinox_net,
        "jax",
        ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"),
    ),
    "torch": (torch_net, "torch", ("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias")),
    "flax": (
        flax_net,
        "jax",
        ("first.kernel", "first.bias", "norm.scale", "norm.bias", "second.kernel", "second.bias"),
    ),
}  # fmt: skip


def by_hand(weights, names, x, epsilon):
    """The network of all three libraries, in NumPy."""
    a, b, scale, shift, c, d = (np.asarray(weights[f"f.{name}"], np.float64) for name in names)
    x = x @ (a if a.shape[0] == 2 else a.T) + b
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * scale + shift
    return np.tanh(x) @ (c if c.shape[0] == 4 else c.T) + d


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_librarys_module_gives_the_density_of_its_weights(library, lead):
    make, backend, names = LIBRARIES[library]
    net, (x, y, z) = make(), draws([(*lead, 2), lead, (*lead, 2)])

    @er.model
    def curve(x, y):
        f = er.module("f", net)
        with er.plate("row", 5):
            if len(lead) == 2:
                with er.plate("group", 3):
                    z = er.sample("z", er.Normal(np.zeros(2), 1.0).to_event(1))
                    er.observe("y", er.Normal(f(x + z)[..., 0], 0.5), y)
            else:
                z = er.sample("z", er.Normal(np.zeros(2), 1.0).to_event(1))
                er.observe("y", er.Normal(f(x + z)[..., 0], 0.5), y)

    program = curve(x, y)
    trace = program.trace(backend)
    assert set(trace.weights) == {f"f.{name}" for name in names}
    mean = by_hand(trace.weights, names, x + z, 1e-6 if library == "flax" else 1e-5)[..., 0]
    expected = -0.5 * ((y - mean) ** 2).sum() / 0.25 - y.size * np.log(0.5 * np.sqrt(2 * np.pi))
    expected += -0.5 * (z**2).sum() - z.size * np.log(np.sqrt(2 * np.pi))
    target = program.target(backend)
    assert target.log_joint({"z": z}) == pytest.approx(expected, rel=1e-6)
    (many,) = draws([(4, target.dim)])
    together, slopes = target.value_and_grad(many)
    alone = [target.value_and_grad(one[None]) for one in many]
    np.testing.assert_allclose(together, np.concatenate([v for v, _ in alone]), rtol=1e-9)
    np.testing.assert_allclose(slopes, np.concatenate([g for _, g in alone]), rtol=1e-6, atol=1e-9)


def declared(make, backend="jax", prior=None):
    """The trace of a model with a module, called on three rows of two numbers."""

    @er.model
    def with_module(x, y):
        f = er.module("f", make(), prior)
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(f(x)[..., 0], 1.0), y)

    return with_module(np.ones((3, 2)), np.zeros(3)).trace(backend)


def equinox_batch_norm():
    import equinox as eqx

    return eqx.nn.Sequential([eqx.nn.BatchNorm(2, "row", mode="ema"), eqx.nn.Lambda(jnp.tanh)])


def equinox_dropout(inference=False):
    import equinox as eqx

    return eqx.nn.Sequential(
        [eqx.nn.Linear(2, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5, inference=inference)]
    )


def flax_dropout(deterministic=False):
    nnx = flax()
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(2, 1, rngs=rngs), nnx.Dropout(0.5, deterministic=deterministic, rngs=rngs)
    )


def flax_batch_norm():
    nnx = flax()
    return nnx.Sequential(nnx.BatchNorm(2, rngs=nnx.Rngs(0)), nnx.Linear(2, 1, rngs=nnx.Rngs(0)))


def flax_counter():
    nnx = flax()

    class Counter(nnx.Module):
        def __init__(self):
            self.linear, self.calls = nnx.Linear(2, 1, rngs=nnx.Rngs(0)), nnx.Variable(jnp.zeros(()))

        def __call__(self, x):
            self.calls[...] += 1
            return self.linear(x)

    return Counter()


def flax_noise():
    nnx = flax()

    class Noise(nnx.Module):
        def __init__(self):
            self.rngs = nnx.Rngs(0)
            self.linear = nnx.Linear(2, 1, rngs=self.rngs)

        def __call__(self, x):
            return self.linear(x) + jax.random.normal(self.rngs(), (1,))

    return Noise()


def flax_linen():
    return pytest.importorskip("flax.linen", reason="flax is not installed").Dense(1)


class HiddenDropout(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, x):
        return F.dropout(self.linear(x), 0.5)


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1)
        return self.linear(x)


def torch_layers(*layers):
    return torch.nn.Sequential(torch.nn.Linear(2, 1), *layers)


def lost(backend):
    if backend == "torch":
        net = torch.nn.Linear(2, 1)
        with torch.no_grad():
            net.weight[0, 1] = torch.nan
        return net
    import equinox as eqx

    net = eqx.nn.Linear(2, 1, key=jax.random.key(0))
    return eqx.tree_at(lambda n: n.weight, net, net.weight.at[0, 1].set(jnp.nan))


PURE = "er.module 'f': expected a pure function of each row and its weights, got "


@pytest.mark.parametrize(
    "backend, make, words",
    [
        ("jax", equinox_batch_norm, PURE + "BatchNorm, through which rows see each other.*LayerNorm"),
        ("jax", flax_batch_norm, PURE + "BatchNorm, through which rows see each other.*LayerNorm"),
        ("torch", lambda: torch_layers(torch.nn.BatchNorm1d(1)), PURE + "BatchNorm1d, through which"),
        ("torch", lambda: torch_layers(torch.nn.BatchNorm1d(1)).eval(), PURE + "BatchNorm1d"),
        ("jax", equinox_dropout, PURE + "Dropout, which draws at random. .*switch it off"),
        ("jax", flax_dropout, PURE + "Dropout, which draws at random. .*switch it off"),
        ("torch", lambda: torch_layers(torch.nn.Dropout(0.5)), PURE + "Dropout, which draws at random"),
        ("torch", HiddenDropout, PURE + "one that draws at random"),
        ("torch", Counter, PURE + "one that writes to its buffer 'calls'"),
        ("jax", flax_counter, PURE + "one that changes its state 'calls"),
        ("jax", flax_noise, PURE + "one that changes its state 'rngs"),
    ],
)
def test_what_is_no_function_of_a_row_is_refused(backend, make, words):
    net = make()
    with pytest.raises(er.UnsupportedError, match=words):
        declared(lambda: net, backend)


@pytest.mark.parametrize(
    "backend, make",
    [
        ("jax", lambda: equinox_dropout(True)),
        ("jax", lambda: flax_dropout(True)),
        ("torch", lambda: torch_layers(torch.nn.Dropout(0.5)).eval()),
    ],
)
def test_dropout_that_is_switched_off_is_a_function(backend, make):
    net = make()
    assert len(declared(lambda: net, backend).weights) == 2


@pytest.mark.parametrize(
    "backend, make, words",
    [
        ("jax", torch_net, "a network of er.nn, equinox or flax.nnx, got a Sequential of torch. Fit with backend='torch'"),
        ("torch", equinox_net, "got a Sequential of equinox. Fit with backend='jax'"),
        ("torch", flax_net, "got a .*Net.* Fit with backend='jax'"),
        ("jax", flax_linen, "got a Dense of flax. Write it with flax.nnx"),
        ("jax", lambda: np.tanh, "got a ufunc of numpy. Give one, or an object with arrays"),
        ("jax", lambda: lambda x: x, "got a function. Give one, or an object with arrays"),
        ("torch", lambda: lambda x: x, "got a function. Give one, or an object with arrays"),
        ("jax", lambda: er.nn.MLP, "expected a network, got the class MLP. Make one"),
        ("torch", lambda: torch.nn.Linear, "expected a network, got the class Linear. Make one"),
        ("jax", lambda: None, "expected a network, got None. Make one"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(backend, make, words):
    net = make()
    with pytest.raises(er.ModelError, match=f"er.module 'f': .*{words}"):
        declared(lambda: net, backend)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_weights_that_are_not_finite_are_refused(backend):
    net = lost(backend)
    words = "er.module 'f': expected finite weights, got 1 of 'weight' that are not. Load or make"
    with pytest.raises(er.DataError, match=words):
        declared(lambda: net, backend)


def test_an_error_inside_a_network_says_whose_it_is():
    class Broken(torch.nn.Linear):
        def forward(self, x):
            raise RuntimeError("a fault of its own")

    nets = Broken(2, 1), torch.nn.Linear(3, 1)
    with pytest.raises(RuntimeError) as caught:
        declared(lambda: nets[0], "torch")
    assert "in er.module 'f', called on arrays of shape (3, 2)" in str(caught.value.__notes__)
    with pytest.raises(
        er.ShapeError, match="er.module 'f': expected inputs that its layers fit, got .*3x2 and 3x1"
    ):
        declared(lambda: nets[1], "torch")


class Frozen(torch.nn.Module):
    """A bias that is not trained, a buffer, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2, bias=False)
        self.second = torch.nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)
        self.register_buffer("offset", torch.tensor([0.25, -1.0]))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))) + self.offset


def test_frozen_parameters_and_buffers_are_constants_and_tied_ones_stay_tied():
    net = Frozen()
    trace = declared(lambda: net, "torch")
    assert set(trace.weights) == {"f.first.weight"}
    network = trace.modules["f"]
    weight, (x,) = np.array([[1.0, 2.0], [0.5, -1.0]]), draws([(4, 2)])
    made = network.apply({"first.weight": torch.as_tensor(weight)}, torch.as_tensor(x))
    expected = np.tanh(x @ weight.T) @ weight.T + net.second.bias.detach().numpy() + [0.25, -1.0]
    np.testing.assert_allclose(made.detach(), expected, atol=1e-7)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_module_that_each_run_makes_anew_is_refused(library):
    make, backend, _ = LIBRARIES[library]

    @er.model
    def inside(x, y):
        f = er.module("f", make())
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(0, 1))
            er.observe("y", er.Normal(f(x)[..., 0] + z, 1.0), y)

    with pytest.raises(
        er.ModelError, match="er.module 'f': expected a module that is there before.* outside of"
    ):
        inside(np.ones((3, 2)), np.zeros(3)).target(backend).value_and_grad(np.zeros((2, 3)))


def test_a_network_without_weights_is_one():
    net = torch.nn.Flatten(-1)
    assert declared(lambda: net, "torch").weights == {}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_weights_with_a_prior_are_latent_sites(backend):
    net = er.nn.MLP(2, [3], 1, "tanh")

    @er.model
    def bayesian(x, y):
        f = er.module("f", net, prior=er.Normal(0, 2))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(f(x)[:, 0], 0.5), y)

    x, y = draws([(5, 2), (5,)])
    program, weights = bayesian(x, y), filled(net)
    trace = program.trace(backend)
    assert [site.name for site in trace.latents] == [f"f.{key}" for key in weights]
    assert {site.name: site.shape for site in trace.latents} == {
        f"f.{k}": v.shape for k, v in weights.items()
    }
    assert not trace.weights and dict(trace.modules) == {"f": net}
    flat = np.concatenate([v.ravel() for v in weights.values()])
    expected = (-0.125 * flat**2 - np.log(2 * np.sqrt(2 * np.pi))).sum()
    gaps = (y - net.apply(weights, x)[:, 0]) / 0.5
    expected += (-0.5 * gaps**2 - np.log(0.5 * np.sqrt(2 * np.pi))).sum()
    target = program.target(backend)
    assert target.log_joint({f"f.{k}": v for k, v in weights.items()}) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "prior, words",
    [
        (er.Normal, "got the class Normal. Write prior=er.Normal"),
        (1.0, "got float. Write prior=er.Normal"),
        (er.Normal(np.zeros(3), 1), r"got one of arrays, Normal\(loc=<array \(3,\)>, scale=1\). Write"),
        (er.Dirichlet(np.ones(3)), "got one of arrays, Dirichlet"),
        (er.Poisson(1.0), "got the law of whole numbers Poisson"),
    ],
)
def test_priors_that_are_none_are_refused(prior, words):
    with pytest.raises(
        er.ModelError, match="prior of er.module 'f': expected a law of one real number, " + words
    ):
        declared(lambda: er.nn.MLP(2, [3], 1), prior=prior)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_some_weights_have_a_prior_and_the_others_are_fitted(backend):
    priors = {"layers.1": er.Normal(0, 2), "layers.1.bias": er.Normal(1, 3)}

    @er.model
    def last(x, y):
        f = er.module("f", er.nn.MLP(2, [3], 1, "tanh"), prior=priors)
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(f(x)[:, 0], 0.5), y)

    target = last(*draws([(5, 2), (5,)])).target(backend)
    assert [site.name for site in target.sites] == ["f.layers.1.weight", "f.layers.1.bias"]
    assert sorted(target.trace.weights) == ["f.layers.0.bias", "f.layers.0.weight"]
    values = {"f.layers.1.weight": np.full((1, 3), 0.5), "f.layers.1.bias": np.array([2.0])}
    terms = target.log_joint_terms(values)
    assert terms["f.layers.1.weight"] == pytest.approx(3 * stats.norm(0, 2).logpdf(0.5), rel=1e-10)
    assert terms["f.layers.1.bias"] == pytest.approx(stats.norm(1, 3).logpdf(2.0), rel=1e-10)
    moved = target.at({key: np.asarray(value) + 1.0 for key, value in target.trace.weights.items()})
    assert moved.log_joint(values) != pytest.approx(target.log_joint(values))


def test_a_prior_of_no_weight_is_refused():
    with pytest.raises(
        er.ModelError, match=r"prior of er.module 'f': expected names among .*'layers.1', .*got 'layer'"
    ):
        declared(lambda: er.nn.MLP(2, [3], 1), prior={"layer": er.Normal(0, 1)})
    with pytest.raises(er.ModelError, match="'layers.0': expected a law of one real number, got float"):
        declared(lambda: er.nn.MLP(2, [3], 1), prior={"layers.0": 1.0})


# -- where words stand, and what they are called -----------------------------------------------------------


def refused(body, words, kind=er.ModelError):
    """Both backends say so."""

    def declare(y):
        body(y)
        er.observe("last", er.Normal(0.0, 1.0), 0.0)

    for backend in ("jax", "torch"):
        with pytest.raises(kind, match=words):
            er.model(declare)(np.arange(3.0)).trace(backend)


NET, LINEAR = er.nn.MLP(1, [2], 1), torch.nn.Linear(1, 1)


def test_a_prior_inside_a_plate_is_refused():
    def body(y):
        with er.plate("row", len(y)):
            er.module("f", NET, prior=er.Normal(0, 1))

    refused(body, "prior of er.module 'f': expected no plate around the module, got plate 'row'. Declare the")


@pytest.mark.parametrize(
    "body, words",
    [
        (lambda y: [er.module("f", NET) for _ in range(2)], "module 'f'.*a second module of the same name"),
        (lambda y: [er.param("a", 1.0) for _ in range(2)], "'a'.*a second learned array of the same name"),
        (
            lambda y: (er.param("a", 1.0), er.sample("a", er.Normal(0, 1))),
            "site 'a': expected a name used once, got a learned array of the same name",
        ),
        (
            lambda y: (er.sample("a", er.Normal(0, 1)), er.param("a", 1.0)),
            "learned array 'a': expected a name used once, got a site of the same name",
        ),
        (
            lambda y: [er.module("f", NET, prior=er.Normal(0, 1)) for _ in range(2)],
            "module 'f'.*a second module of the same name",
        ),
    ],
)
def test_names_used_twice_are_refused(body, words):
    refused(body, words, er.DuplicateSiteError)


@pytest.mark.parametrize(
    "body, words",
    [
        (lambda y: er.module("f.g", NET), "the name of an er.module: expected a name without dots.*'f_g'"),
        (lambda y: er.param("f.g", 0.0), "the name of an er.param: expected a name without dots.*'f_g'"),
        (lambda y: er.param(3, 0.0), "the name of an er.param: expected text"),
        (lambda y: er.param("a", "b"), "er.param 'a': expected an initial value.*got str"),
        (
            lambda y: er.param("a", None),
            "er.param 'a': expected an initial value: a number or an array, got None",
        ),
        (lambda y: er.param("a", [0.0, np.nan]), "er.param 'a': expected finite numbers, got 1 that are not"),
    ],
)
def test_declarations_that_say_nothing_are_refused(body, words):
    refused(body, words)


@pytest.mark.parametrize(
    "word, inner",
    [
        ("param", lambda: er.param("a", 1.0)),
        ("module", lambda: er.module("f", NET)),
        ("module", lambda: er.module("f", LINEAR)),
    ],
)
def test_inside_a_step_they_are_refused(word, inner):
    def scanned(y):
        er.scan(lambda state, x: (inner() is None, x), 0.0, y)

    def solved(y):
        er.odeint(lambda t, state: (inner(), -state)[1], [1.0], [0.0, 1.0])

    refused(
        scanned,
        f"er.scan: expected a function free of declarations, got '{word}' inside it. Declare it before",
    )
    refused(solved, f"er.odeint, 'field': expected .*, got '{word}' inside it. Declare it before")


@pytest.mark.parametrize(
    "word, call", [("param", lambda: er.param("a", 1.0)), ("module", lambda: er.module("f", NET))]
)
def test_outside_of_a_model_they_are_refused(word, call):
    with pytest.raises(er.ModelError, match=f"'{word}': expected to be called while a model runs"):
        call()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_learned_array_is_real_and_begins_where_it_is_told(backend):
    @er.model
    def shifted(y):
        shift = er.param("shift", 2)
        start = er.param("start", er.math.mean(y))
        scale = er.math.exp(er.param("log_scale", [0, 0, 0]))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(shift + start, scale))
            er.observe("y", er.Normal(z, 1.0), y)

    program = shifted([1.0, 2.0, 6.0])
    weights = program.trace(backend).weights
    assert {k: (v.tolist(), v.dtype.kind) for k, v in weights.items()} == {
        "shift": (2.0, "f"),
        "start": (3.0, "f"),
        "log_scale": ([0.0] * 3, "f"),
    }
    target, z = program.target(backend), np.array([[0.1, -0.2, 0.3]])
    for moved in (2.0, -1.0):
        given = {"shift": np.array(moved), "start": np.array(3.0), "log_scale": np.full(3, 0.5)}
        value, _ = target.value_and_grad(z, weights=given)
        prior = -0.5 * ((z - moved - 3.0) * np.exp(-0.5)) ** 2 - 0.5
        likelihood = -0.5 * (np.array([1.0, 2.0, 6.0]) - z) ** 2
        assert value[0] == pytest.approx((prior + likelihood - np.log(2 * np.pi)).sum(), rel=1e-9)


# -- the graph ---------------------------------------------------------------------------------------------


def lines(declare, backend, *data):
    return str(er.model(declare)(*data).graph(backend)).splitlines()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_graph_says_which_networks_stand_between(backend):
    def declare(x, y):
        decode, other = er.module("decode", er.nn.MLP(1, [3], 2)), er.module("other", er.nn.MLP(1, [3], 1))
        unused = er.module("unused", er.nn.MLP(1, [], 1))
        trend, noise = er.module("trend", er.nn.MLP(1, [3], 1)), er.param("noise", 0.0)
        u = er.sample("u", er.Normal(0, 1))
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(u, 1.0))
            unused(z[:, None])
            er.observe("x", er.Normal(decode(z[:, None]) + u, 1.0).to_event(1), x)
            mean = other(decode(z[:, None])[:, :1])[:, 0] + trend(x[:, :1])[:, 0]
            er.observe("y", er.Normal(mean, er.math.exp(noise)), y)

    assert lines(declare, backend, np.ones((4, 2)), np.ones(4)) == [
        "decode [module]",
        "other [module]",
        "trend [module]",
        "noise [learned]",
        "u ~ Normal [latent]",
        "z ~ Normal [latent] ← u",
        "x ~ Normal [observed] ← u, z (decode)",
        "y ~ Normal [observed] ← z (decode, other), trend, noise",
    ]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_links_of_networks_have_their_parts_and_rows_stay_apart(backend):
    @er.model
    def latent(x):
        f, s = er.module("f", er.nn.MLP(2, [3], 2)), er.module("s", er.nn.GRU(1, 3, 2, last=True))
        with er.plate("row", len(x)):
            z = er.sample("z", er.Normal(np.zeros(2), 1.0).to_event(1))
            scale = er.math.exp(s(z[..., None]))
            er.observe("x", er.Normal(f(z), scale).to_event(1), x)

    program = latent(np.ones((4, 2)))
    graph = program.graph(backend)
    assert graph.links["z", "x"]["modules"] == ("f", "s")
    assert {name: graph.learned[name, "x"]["role"] for name in "fs"} == {"f": "module", "s": "module"}
    assert graph.learned["f", "x"]["params"] == ("loc",) and graph.learned["s", "x"]["params"] == ("scale",)
    assert program.accesses(backend)["x"]["log_prob"]["z"].axes[0] == ("aligned", 0, None)
    assert graph.locals == ("z",) and set(graph.sites) == {"z", "x"}
    assert all(word in graph.svg() for word in (">f<", ">s<", "(module)"))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_rows_stay_apart_through_every_network(name, backend):
    net, shapes = NETWORKS[name]
    inner = shapes[0][-2:] if isinstance(net, (er.nn.GRU, er.nn.Causal)) else shapes[0][-1:]
    inner = (*net.shape,) if isinstance(net, er.nn.Conv) else inner

    @er.model
    def through(y):
        f = er.module("f", net)
        with er.plate("row", 4):
            z = er.sample("z", er.Normal(np.zeros(inner), 1.0).to_event(len(inner)))
            rest = [np.ones((1, 2))] if getattr(net, "num_context", 0) else []
            made = f(z, *rest)
            er.observe("y", er.Normal(er.math.sum(er.math.reshape(made, (4, -1)), axis=-1), 1.0), y)

    program = through(np.ones(4))
    assert program.accesses(backend)["y"]["log_prob"]["z"].axes[0] == ("aligned", 0, None)
    assert str(program.graph(backend)).splitlines()[-1] == "y ~ Normal [observed] ← z (f)"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_what_a_learned_array_decides_is_no_constant(backend):
    @er.model
    def shifted(y):
        shift = er.param("shift", 0.5)
        with er.plate("row", len(y)):
            z = er.sample("z", er.Normal(shift, 2.0))
            er.observe("y", er.Normal(z, 1.0), y)

    from elboroom.ppl.backends import load

    known = load(backend).known(shifted(np.ones(3)))
    assert "loc" not in known["z"] and np.all(known["z"]["scale"] == 2.0)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_weights_with_a_prior_reach_through_their_own_module(backend):
    def declare(x, y):
        f = er.module("f", er.nn.MLP(1, [], 1), prior=er.Normal(0, 1))
        with er.plate("row", len(y)):
            er.observe("y", er.Normal(f(x)[:, 0], 1.0), y)

    assert lines(declare, backend, np.ones((4, 1)), np.ones(4)) == [
        "f [module]",
        "f.layers.0.weight ~ Normal [latent]",
        "f.layers.0.bias ~ Normal [latent]",
        "y ~ Normal [observed] ← f.layers.0.weight, f.layers.0.bias",
    ]
