"""Plots of posteriors whose rows are encoded: bounds, the space of the rows, rows beside what the model makes of them.

All are given the fitted arrays.

Examples
--------
>>> import elboroom as er
>>> @er.model
... def line(x):
...     slope = er.param("slope", np.ones(3))
...     with er.plate("row", len(x)):
...         z = er.sample("z", er.Normal(0, 1))
...         er.observe("x", er.Normal(z[:, None] * slope, 0.5).to_event(1), x)
>>> x = np.random.default_rng(0).normal(size=(64, 1)) * np.array([1.0, -1.0, 2.0])
>>> posterior = er.fit(line(x), guide=er.Amortized(), progress=False)
>>> "bounds" in er.plots.bounds(posterior).viz
True
>>> er.plots.reconstructions(posterior, num=4).viz["input"]["x"].shape
(4,)
"""

from __future__ import annotations

import numpy as np

from ..ppl.errors import DataError, explain
from .encoded import beside, bounds_of, chosen, image_shape, outcome_names, places, strips
from .thresholds import EARLY_SHARE, STRIPS

DIVERGING = ["#2166ac", "#5a97c5", "#a5cbe3", "#999999", "#f4a582", "#d6604d", "#b2182b"]
"""Colours of values from below to above."""

__all__ = ["bounds", "latent", "reconstructions", "traversals"]


def bounds(posterior, **settings):
    """Bounds of a row, in nats, over the steps of training: of the batches trained on, and of the rows held out.

    Parameters
    ----------
    posterior : Posterior
        A fit with an encoder.
    **settings
        For ``arviz_plots.PlotCollection.wrap``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    InferenceError
        For a posterior without an encoder.
    """
    import arviz_plots
    from arviz_plots.visuals import labelled_x, labelled_y, line_xy, set_ylim

    seen = bounds_of(posterior)
    curves = {"training": "trained on", "held_out": "held out"}
    some = {name: word for name, word in curves.items() if seen[name].notna().any()}
    points = np.array([[seen["steps"], seen[name]] for name in some])
    data = _dataset("bound", points, ("rows", "plot_axis", "look"), rows=list(some.values()))
    settings.setdefault("aes", {"color": ["rows"]})
    plots = arviz_plots.PlotCollection.wrap(data, **settings)
    plots.map(line_xy, "bounds")
    low, high = np.nanquantile(points[:, 1], EARLY_SHARE), np.nanmax(points[:, 1])
    margin = 0.05 * (high - low) or 1.0
    one = {"data": data.isel(rows=0, drop=True), "ignore_aes": plots.aes_set}
    plots.map(set_ylim, limits=(low - margin, high + margin), store_artist=False, **one)
    plots.map(labelled_x, "xlabel", text="step", **one)
    plots.map(labelled_y, "ylabel", text="bound of a row, nats", **one)
    plots.add_legend("rows")
    return plots


def latent(posterior, **settings):
    """The fitted rows in their two most active units: the encoder's means, with its sds as lines.

    At most two thousand rows, evenly among all. Where there is one unit, by the order of rows.

    Parameters
    ----------
    posterior : Posterior
        A fit with an encoder.
    **settings
        For ``arviz_plots.PlotCollection.wrap``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    InferenceError
        For a posterior without an encoder.
    """
    import arviz_plots
    from arviz_plots.visuals import labelled_x, labelled_y, line_xy, scatter_xy

    found = places(posterior)
    units = [str(unit) for unit in found["unit"].to_numpy()[:2]]
    mean, sd = (found[name].to_numpy()[:, :2].T for name in ("mean", "sd"))
    if len(units) == 1:
        units, mean = [*units, "row"], np.stack([mean[0], np.arange(mean.shape[1])])
        sd = np.stack([sd[0], np.zeros(mean.shape[1])])
    data = _dataset("units", mean, ("plot_axis", "row"))
    plots = arviz_plots.PlotCollection.wrap(data, **settings)
    for axis, label in enumerate(("sd_x", "sd_y")):
        reach = np.zeros((2, mean.shape[1], 3))
        reach[axis] = sd[axis][:, None] * np.array([-1.0, 1.0, np.nan])
        bars = (mean[:, :, None] + reach).reshape(2, -1)
        plots.map(line_xy, label, data=_dataset("units", bars, ("plot_axis", "end")), color="C0", alpha=0.25)
    plots.map(scatter_xy, "mean", color="C0", size=9)
    plots.map(labelled_x, "xlabel", text=units[0])
    plots.map(labelled_y, "ylabel", text=units[1])
    return plots


def reconstructions(posterior, x=None, num: int = 8, shape=None, name: str | None = None, **settings):
    """Rows, and beside them the means that the model has of them: as images, or as lines over the columns.

    Parameters
    ----------
    posterior : Posterior
        A fit with an encoder.
    x : array or mapping, optional
        Data of rows, of which the first are shown; by default some of the fitted ones.
    num : int
        How many rows.
    shape : tuple of int, optional
        Height and width of a row as an image, or ``()`` for lines. By default rows with two axes are images, and those of
        64 columns or more that are a square.
    name : str, optional
        An outcome; the first one by default.
    **settings
        For ``arviz_plots.PlotCollection``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    InferenceError
        For a posterior without an encoder.
    DataError
        If there is no such outcome, or none whose law knows its mean.
    ShapeError
        For an image of another number of pixels.
    """
    import arviz_plots
    from arviz_plots.visuals import line_xy

    rows, means, index = beside(posterior, x, num, name)
    name = chosen(posterior, name, outcome_names(posterior))
    image, labels = image_shape(shape, rows.shape[1:]), np.arange(len(rows)) if index is None else index
    if image is not None:
        pairs = np.stack([rows.reshape(len(rows), *image), means.reshape(len(rows), *image)])
        return _images(name, pairs, {"of": ["row", "reconstruction"], "row": labels}, ("of", "row"), settings)
    columns = np.arange(int(np.prod(rows.shape[1:], dtype=int)))
    made = [_over(columns, one.reshape(len(rows), -1)) for one in (rows, means)]
    own, others = (_dataset(name, one, ("row", "plot_axis", "column"), row=labels) for one in made)
    settings = {"cols": ["row"], "figure_kwargs": _panels(len(rows)), **settings}
    plots = arviz_plots.PlotCollection.wrap(own, **settings)
    plots.map(line_xy, "input", color="C1")
    plots.map(line_xy, "reconstruction", data=others, color="C0")
    plots.map(_title, "title", subset_info=True)
    return plots


def traversals(posterior, shape=None, num: int = STRIPS, name: str | None = None, given=None, **settings):
    """Means of an outcome along the most active units, from -3 to 3, the others at zero: strips of images, or lines.

    Parameters
    ----------
    posterior : Posterior
        A fit with an encoder.
    shape : tuple of int, optional
        See `reconstructions`.
    num : int
        How many units at most.
    name : str, optional
        An outcome; the first one by default.
    given : mapping, optional
        Arguments of the model that are no outcomes, seven rows each; by default those of the first fitted row.
    **settings
        For ``arviz_plots.PlotCollection``.

    Returns
    -------
    arviz_plots.PlotCollection

    Raises
    ------
    InferenceError
        For a posterior without an encoder.
    DataError
        If there is no such outcome, or none whose law knows its mean.
    ShapeError
        For an image of another number of pixels.
    """
    import arviz_plots
    from arviz_plots.visuals import line_xy

    units, values, means = strips(posterior, num, name, given)
    name = chosen(posterior, name, outcome_names(posterior))
    image = image_shape(shape, means.shape[2:])
    if image is not None:
        pixels = means.reshape(*means.shape[:2], *image)
        return _images(name, pixels, {"unit": units, "value": values}, ("unit", "value"), settings)
    lines = means.reshape(*means.shape[:2], -1)
    points = _over(np.arange(lines.shape[2]), lines)
    data = _dataset(name, points, ("unit", "value", "plot_axis", "column"), unit=units, value=values.round(6))
    settings = {
        "cols": ["unit"],
        "aes": {"color": ["value"]},
        "figure_kwargs": _panels(len(units)),
        "color": DIVERGING,
        **settings,
    }
    plots = arviz_plots.PlotCollection.wrap(data, **settings)
    plots.map(line_xy, "traversal")
    titled = data.isel(value=0, drop=True)
    plots.map(_title, "title", data=titled, subset_info=True, ignore_aes=plots.aes_set)
    plots.add_legend("value")
    return plots


def _images(name: str, pixels: np.ndarray, coords: dict, dims: tuple[str, str], settings: dict):
    """A grid of images, black where numbers are largest: one row of the grid for each element of the first axis."""
    import arviz_plots

    data = _dataset(name, pixels, (*dims, "height", "width"), **coords)
    size = {"figsize": (0.9 * pixels.shape[1], 0.9 * pixels.shape[0]), "figsize_units": "inches"}
    settings = {"figure_kwargs": size, **settings}
    plots = arviz_plots.PlotCollection.grid(data, rows=[dims[0]], cols=[dims[1]], **settings)
    plots.map(_image, "image", limits=(float(np.nanmin(pixels)), float(np.nanmax(pixels))))
    return plots


def _image(pixels, target, limits, **_settings):
    if not hasattr(target, "imshow"):
        raise DataError(
            explain("backend", "'matplotlib', which draws images", "another",
                    "leave backend out, or pass shape=() for lines")
        )  # fmt: skip
    target.set_axis_off()
    return target.imshow(np.asarray(pixels, float), cmap="gray_r", vmin=limits[0], vmax=limits[1])


def _over(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Points ``(..., 2, columns)`` of values over their columns."""
    return np.stack([np.broadcast_to(columns, values.shape), values], -2)


def _dataset(name: str, values: np.ndarray, dims: tuple[str, ...], **coords):
    import xarray as xr

    if "plot_axis" in dims:
        coords["plot_axis"] = ["x", "y"]
    return xr.Dataset({name: (dims, values)}, coords=coords)


def _title(_rows, target, sel, **_settings):
    from arviz_plots.visuals import labelled_title

    return labelled_title(None, target, text=" ".join(f"{dim} {label}" for dim, label in sel.items()))


def _panels(count: int) -> dict[str, object]:
    """Size of a figure of so many panels, four beside each other."""
    return {
        "figsize": (3.2 * min(count, 4), 2.6 * -(-count // 4)),
        "figsize_units": "inches",
    }
