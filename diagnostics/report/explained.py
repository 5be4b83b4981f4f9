"""What informs the quantities, and what changes of arguments do, where these have been asked for."""

from __future__ import annotations

from html import escape

from ...inference.posterior.posterior import requested


def effects_section(posterior) -> str:
    """Contrasts of expected outcomes; empty where none were asked for."""
    found = requested(posterior).get("effects", {})
    if not found:
        return ""
    out = [
        '<h2 id="effects">What changes of arguments do</h2><p>Changes of the expected outcome, averaged over rows, all else in each row as it is: of predictions by this model, and of actions only if it is a causal one.</p>'
    ]
    for made in found.values():
        title = f"'{escape(made.name)}', on the expected '{escape(made.outcome)}'"
        table = made.summary().to_html(float_format=lambda v: f"{v:.3g}", border=0)
        lines = "".join(f"<li>{escape(finding.advice)}</li>" for finding in made.findings)
        out.append(f"<h3>{title}</h3>{table}" + (f"<ul>{lines}</ul>" if lines else ""))
    return "".join(out)


def why_section(posterior) -> str:
    """What informs quantities; empty where it was not asked for."""
    found = requested(posterior).get("why", {})
    if not found:
        return ""
    out = ['<h2 id="why">What informs the intervals</h2>']
    for made in found.values():
        top = made.rows.reindex(made.rows["share"].abs().sort_values(ascending=False).index)[:5]
        lines = "".join(f"<li>{escape(finding.advice)}</li>" for finding in made.findings)
        words = f"{made.prior:.1%} of what is known of it is the priors', {made.pooling:.1%} that of laws of groups, {made.rows['share'].sum():.1%} that of {len(made.rows):,} rows"
        parts = [f"<h3>{escape(made.quantity)}</h3><p>{words}; those that tell most:</p>"]
        parts.append(top.to_html(index=False, float_format=lambda v: f"{v:.3g}", border=0))
        for name in made.groupings:
            parts.append(made.groups(name)[:5].to_html(float_format=lambda v: f"{v:.3g}", border=0))
        out += [*parts, f"<ul>{lines}</ul>" if lines else ""]
    return "".join(out)
