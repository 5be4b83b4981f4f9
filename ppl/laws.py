"""What a backend's law is: discrete or not, a Markov chain, with how many values."""

from __future__ import annotations

from .distributions.chain import MarkovChain


def is_discrete(fn) -> bool:
    """Whether values are counts or codes."""
    return bool(getattr(fn.support, "is_discrete", False))


def is_chain(fn) -> MarkovChain | None:
    """The declaration of a Markov chain, or None."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    declared = getattr(fn, "declared", None)
    return declared if isinstance(declared, MarkovChain) else None


def count_values(fn) -> int:
    """Number of values of a discrete law."""
    chain = is_chain(fn)
    return chain.num_values if chain else len(fn.enumerate_support(expand=False))
