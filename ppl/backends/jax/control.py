"""NumPyro's own loops and branches (`numpyro.contrib.control_flow`).

NumPyro hides what happens in a step from the handlers outside, and announces each site once more after the loop, its
values and laws of all steps stacked. So values are handed in step by step, and recorded when they come out.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.primitives import Messenger

from ...errors import UnsupportedError, explain


def enter(handler, msg) -> None:
    """Let the run of `handler` decide the values of the sites inside a loop or a branch."""
    run = handler.run
    last = _last(*msg["args"][2:]) if "history" in msg["kwargs"] else None
    msg["args"] = tuple(Inside(one, handler) if callable(one) else one for one in msg["args"])
    if run.predict is not None:
        msg["kwargs"]["substitute_stack"].append(("condition", partial(_predicted, run, last)))
    msg["kwargs"]["substitute_stack"].append(("substitute", partial(_value, handler, last)))


def _last(xs, length, reverse) -> int | None:
    """Index of the last element of a scan that begins with it; None of one that begins with the first."""
    if not reverse:
        return None
    return (jnp.shape(jax.tree.leaves(xs)[0])[0] if length is None else length) - 1


class Inside(Messenger):
    """The innermost handler of a step: plates as outside; no parameters, and no loops of its own."""

    def __init__(self, fn, handler):
        super().__init__(fn)
        self.handler = handler

    def process_message(self, msg):
        if msg["type"] == "plate":
            self.handler.process_message(msg)
        elif msg["type"] in {"param", "control_flow"}:
            one, remedy = (
                (f"param '{msg['name']}'", "declare it before the loop")
                if msg["type"] == "param"
                else ("a scan or cond", "write the inner loop with jax.lax, or the outer one in Python")
            )
            raise UnsupportedError(
                explain("a step of numpyro's scan or cond", "sites and plates", f"{one} inside it", remedy)
            )


def _value(handler, last, site):
    """The value of a site in one step, unless the model or a handler around it has set one."""
    if site["type"] != "sample" or site["value"] is not None or isinstance(site["fn"], dist.Unit):
        return None
    run = handler.run
    handler.expand(site)
    value, run.inside[site["name"]] = run.value_of(site["name"], site["fn"], _step(last, site))
    return value


def _predicted(run, last, site):
    """A new outcome of an observed site in one step."""
    if site["type"] != "sample" or not site["is_observed"] or isinstance(site["fn"], dist.Unit):
        return None
    run.inside[site["name"]] = "observed"
    return run.predict(site["name"], site["fn"], _step(last, site))


def _step(last, site):
    """Which element of a site a step is about: all of them in a branch."""
    step = site["infer"].get("_scan_current_index", ...)  # counts steps, whichever way they go
    return step if last is None or step is ... else last - step
