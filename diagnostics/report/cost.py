"""What the fit cost."""

from __future__ import annotations


def cost_section(posterior) -> str:
    """A heading and a sentence of HTML."""
    cost = posterior.cost
    return (
        "<h2>Cost</h2>"
        f"<p>{cost.num_gradients:,} gradients, {cost.compile_seconds:.1f} s of compilation, "
        f"{cost.run_seconds:.1f} s in all.</p>"
    )
