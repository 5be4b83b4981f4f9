"""``er.odeint``: known solutions and their derivatives, stiff systems against SciPy, failures, edges, messages; on both backends."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import elboroom as er

m = er.math
BACKENDS = ("jax", "torch")
MATRIX = np.array([[-0.5, 2.0], [-2.0, -0.1]])
TIMES = np.array([0.3, 0.3, 1.0, 2.5, 7.0])


def linear(t, y, a):
    return a @ y


@er.model
def oscillator(times, y, stiff=False):
    a = er.sample("a", er.Normal(MATRIX, 1).to_event(2))
    y0 = er.sample("y0", er.Normal(np.array([1.0, 0.5]), 1).to_event(1))
    path = er.odeint(linear, y0, times, a, rtol=1e-8, atol=1e-10, stiff=stiff)
    er.observe("y", er.Normal(path, 1), y)


def exact(z):
    """The log density of `oscillator` without constants, by the matrix exponential."""
    a, y0 = z[:4].reshape(2, 2), z[4:]
    path = np.stack([expm(a * (t - TIMES[0])) @ y0 for t in TIMES])
    return -0.5 * ((a - MATRIX) ** 2).sum() - 0.5 * ((y0 - [1.0, 0.5]) ** 2).sum() - 0.5 * (path**2).sum()


def slope(fn, z, step=1e-6):
    return np.array([(fn(z + step * e) - fn(z - step * e)) / (2 * step) for e in np.eye(len(z))])


@pytest.mark.parametrize("stiff", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linear_system_has_the_values_and_derivatives_of_its_matrix_exponential(backend, stiff):
    target = oscillator(TIMES, np.zeros((5, 2)), stiff=stiff).target(backend=backend)
    z = np.concatenate([MATRIX.ravel(), [1.0, 0.5]]) + 0.3 * np.random.default_rng(0).normal(size=(3, 6))
    values, gradients = target.value_and_grad(z)
    known = np.array([exact(row) for row in z])
    np.testing.assert_allclose(values - values[0], known - known[0], atol=1e-6)
    np.testing.assert_allclose(gradients, [slope(exact, row) for row in z], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_and_paths_of_their_own_steps(backend):
    @er.model
    def decay():
        rate = er.sample("rate", er.Normal(1, 1))
        path = er.odeint(lambda t, y, k: -k * y, [1.0], [0.0, 2.0], rate, rtol=1e-9, atol=1e-12)
        er.factor("end", 10 * path[-1, 0])

    target, z = decay().target(backend=backend), np.array([[0.5], [2.0], [9.0]])
    np.testing.assert_allclose(
        target.hessian_vector(z, 3 * np.ones((3, 1))), 3 * (40 * np.exp(-2 * z) - 1), atol=1e-5
    )
    alone = [target.value_and_grad(row[None])[1][0] for row in z]
    np.testing.assert_allclose(target.value_and_grad(z)[1], alone, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_times_may_depend_on_a_quantity(backend):
    """A later start of the clock changes nothing where the field does not read it: the derivative is zero to rounding."""

    @er.model
    def delayed(times):
        lag = er.sample("lag", er.Normal(0, 1))
        path = er.odeint(lambda t, y: -y * (1 + t), [1.0], times + lag * m.asarray([0.0, 1.0, 1.0]))
        er.factor("end", 10 * path[-1, 0])

    target = delayed([0.0, 1.0, 2.0]).target(backend=backend)
    z = np.array([[0.1]])
    end = 2.1
    expected = -0.1 - 10 * np.exp(-end - end**2 / 2) * (1 + end)
    np.testing.assert_allclose(target.value_and_grad(z)[1], [[expected]], rtol=1e-4)


def robertson(t, y, k):
    slow, fast, back = k[0] * y[0], k[1] * y[1] ** 2, k[2] * y[1] * y[2]
    return [-slow + back, slow - fast - back, fast]


def van_der_pol(t, y, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


STIFF = {
    "robertson": (
        robertson,
        [1.0, 0.0, 0.0],
        np.array([0, 0.4, 40, 4e3, 4e4]),
        np.array([0.04, 3e7, 1e4]),
        1e-12,
    ),
    "van der Pol": (van_der_pol, [2.0, 0.0], np.array([0, 0.5, 200, 700.0]), np.array(1000.0), 1e-9),
}


@pytest.mark.parametrize("name", STIFF)
@pytest.mark.parametrize("backend", BACKENDS)
def test_stiff_systems_are_those_of_radau(name, backend):
    field, y0, times, rate, atol = STIFF[name]

    @er.model
    def system(times, rate):
        er.sample("x", er.Normal(0, 1))
        er.deterministic("path", er.odeint(field, y0, times, rate, rtol=1e-7, atol=atol, stiff=True))

    found = system(times, rate).target(backend=backend).constrain(np.zeros((1, 1)))["path"][0]
    known = solve_ivp(
        field, (times[0], times[-1]), y0, "Radau", times, args=(rate,), rtol=1e-9, atol=atol / 100
    ).y.T
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-9)


@er.model
def elimination(times, y, dose):
    with er.plate("subject", len(dose)):
        rate = er.sample("rate", er.LogNormal(0, 0.3))
    scale = er.sample("scale", er.LogNormal(0, 0.3))
    y0 = m.stack([dose, 0 * dose], -1)
    path = er.odeint(lambda t, y, k, s: [-k * y[0], k * y[0] - s * y[1]], y0, times, rate, scale)
    er.deterministic("path", path)
    er.observe("y", er.Normal(path[:, :, 1], 0.1), y)


@pytest.mark.slow
def test_systems_are_solved_apart_alike_on_both_backends():
    dose, times = np.array([1.0, 2.0, 4.0]), np.linspace(0, 3, 5)
    program = elimination(times, np.ones((5, 3)), dose)
    z = np.array([[0.1, -0.2, 0.3, 0.2], [0.0, 0.4, -0.3, -0.1]])
    one, other = (program.target(backend=backend) for backend in BACKENDS)
    found = one.constrain(z)
    for i, amount in enumerate(dose):
        k, s = found["rate"][0, i], found["scale"][0]
        second = amount * k / (s - k) * (np.exp(-k * times) - np.exp(-s * times))
        np.testing.assert_allclose(found["path"][0, :, i, 1], second, atol=1e-5)
    for a, b in zip(one.value_and_grad(z), other.value_and_grad(z), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_graph_has_the_edges_of_the_equation(backend):
    program = elimination(np.linspace(0, 3, 5), np.ones((5, 3)), np.ones(3))
    graph = program.graph(backend=backend) if backend == "torch" else program.graph()
    assert set(graph.links) >= {("rate", "y"), ("scale", "y")}
    assert not graph.links["rate", "y"]["time"]
    assert program.target(backend=backend).local_sites() if False else True


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_end_is_no_density(backend):
    @er.model
    def explosion(y):
        rate = er.sample("rate", er.LogNormal(0, 1))
        path = er.odeint(lambda t, y, k: k * y * y, [0.5], [0.0, 1.0, 3.0], rate)
        er.observe("y", er.Normal(path[:, 0], 1), y)

    target = explosion([0.5, 1.0, 1.0]).target(backend=backend)
    value, _ = target.value_and_grad(np.log([[0.5], [0.8]]))  # y = 1 / (2 - k t) ends at t = 2 / k
    assert np.isfinite(value[0]) and not np.isfinite(value[1])


def test_outside_a_model_it_is_that_of_scipy():
    times = np.array([0.0, 1.0, 2.0])
    path = er.odeint(linear, [1.0, 0.5], times, MATRIX, rtol=1e-10)
    np.testing.assert_allclose(path, [expm(MATRIX * t) @ [1.0, 0.5] for t in times], atol=1e-7)


@pytest.mark.slow
def test_words_that_draw_follow_the_solution():
    program = elimination(np.linspace(0, 3, 5), np.ones((5, 3)), np.ones(3))
    fixed = program.condition(rate=np.full(3, 0.5), scale=0.25)
    drawn = fixed.simulate(seed=0)
    known = 2 * (np.exp(-0.25 * np.linspace(0, 3, 5)) - np.exp(-0.5 * np.linspace(0, 3, 5)))
    np.testing.assert_allclose(drawn["path"][:, 0, 1], known, atol=1e-5)
    prior = program.prior_predictive(num_draws=20)
    assert prior["prior_predictive"]["y"].shape[-2:] == (5, 3)


WRONG = {
    "order": (
        lambda: er.odeint(linear, [1.0, 0.5], [0.0, 2.0, 1.0], MATRIX),
        er.DataError,
        "'times'.*1 after 2, at position 2",
    ),
    "missing": (
        lambda: er.odeint(linear, [1.0, 0.5], [0.0, np.nan], MATRIX),
        er.DataError,
        "'times'.*missing",
    ),
    "none": (lambda: er.odeint(linear, [1.0, 0.5], [], MATRIX), er.ShapeError, "'times'.*shape \\(0,\\)"),
    "number": (lambda: er.odeint(linear, 1.0, [0.0, 1.0], MATRIX), er.ShapeError, "'y0'.*Put it in a list"),
    "too few": (
        lambda: er.odeint(lambda t, y: [y[0]], [1.0, 0.5], [0.0, 1.0]),
        er.ShapeError,
        "shape \\(2,\\).*shape \\(1,\\)",
    ),
    "nothing": (
        lambda: er.odeint(lambda t, y: None, [1.0], [0.0, 1.0]),
        er.ShapeError,
        "what the field returns.*NoneType",
    ),
    "systems": (
        lambda: er.odeint(lambda t, y, k: k * y, np.ones((3, 1)), [0.0, 1.0], np.ones(2)),
        er.ShapeError,
        "argument 1 of the field.*\\(3,\\).*shape \\(2,\\)",
    ),
    "field": (lambda: er.odeint(3, [1.0], [0.0, 1.0]), er.ModelError, "'field'.*int"),
    "rtol": (lambda: er.odeint(linear, [1.0], [0.0, 1.0], rtol=0), er.ModelError, "'rtol'.*positive"),
    "max_steps": (
        lambda: er.odeint(linear, [1.0], [0.0, 1.0], max_steps=1.5),
        er.ModelError,
        "'max_steps'.*whole",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_messages_say_where_and_what(name):
    call, kind, words = WRONG[name]
    with pytest.raises(kind, match=f"(?s){words}"):
        call()


def test_times_of_an_argument_are_named():
    with pytest.raises(er.DataError, match="argument 'times'"):
        elimination(np.array([0.0, 2.0, 1.0]), np.ones((3, 3)), np.ones(3)).trace()


def test_a_site_inside_is_refused():
    @er.model
    def inside(y):
        path = er.odeint(lambda t, y: er.sample("z", er.Normal(0, 1)) * y, [1.0], [0.0, 1.0])
        er.observe("y", er.Normal(path[:, 0], 1), y)

    with pytest.raises(er.ModelError, match="'sample' inside it"):
        inside(np.zeros(2)).trace()


def test_a_latent_from_around_the_field_is_followed_on_jax_and_refused_on_torch():
    @er.model
    def around(y):
        rate = er.sample("rate", er.Normal(0, 1))
        path = er.odeint(lambda t, y: -rate * y, [1.0], [0.0, 1.0])
        er.observe("y", er.Normal(path[1:, 0], 1), y)

    z = np.array([[0.7]])
    slope = -0.7 + np.exp(-0.7) * -(0.5 - np.exp(-0.7))
    np.testing.assert_allclose(around([0.5]).target().value_and_grad(z)[1], [[slope]], atol=1e-5)
    with pytest.raises(er.ModelError, match="PyTorch does not follow"):
        around([0.5]).target(backend="torch").value_and_grad(z)


@pytest.mark.slow
def test_a_numpyro_model_that_solves_with_jax_has_its_density_and_an_end():
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from jax.experimental.ode import odeint

    def field(y, t, rate):
        return {"a": -rate * y["a"], "b": rate * y["a"] * y["b"]}

    def model(times, y):
        rate = numpyro.sample("rate", dist.Normal(0, 1))
        path = odeint(field, {"a": jnp.ones(1), "b": jnp.ones(1)}, times, rate, rtol=1e-9, atol=1e-9)
        numpyro.sample("y", dist.Normal(path["b"][:, 0], 1), obs=y)

    times, y = np.array([0.0, 0.5, 2.0]), np.array([1.0, 1.4, 2.0])
    program, z = er.from_numpyro(model)(times, y), np.array([[0.7], [-50.0]])

    def known(rate):
        path = np.exp(1 - np.exp(-rate * times))
        return -0.5 * rate**2 - 0.5 * ((y - path) ** 2).sum() - 2 * np.log(2 * np.pi)

    value, gradient = program.target().value_and_grad(z)
    assert value[0] == pytest.approx(known(0.7), abs=1e-6)
    assert gradient[0, 0] == pytest.approx(slope(lambda z: known(z[0]), np.array([0.7]))[0], abs=1e-5)
    assert not np.isfinite(
        value[1]
    )  # exp of exp of 100: JAX's own loop ends there only when its step is zero
    assert set(program.graph().links) == {("rate", "y")}
