"""``Posterior``: draws, summary, verdicts, and what they rest on."""

from .posterior import Posterior, record_of, requested
from .record import Cost, Record

__all__ = ["Cost", "Posterior", "Record", "record_of", "requested"]
