"""``Posterior``: draws, summary, verdicts, and what they rest on."""

from .posterior import Posterior

__all__ = ["Posterior"]
