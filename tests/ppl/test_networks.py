"""Networks: the same numbers on both backends and as libraries give; models with modules and learned arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

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
