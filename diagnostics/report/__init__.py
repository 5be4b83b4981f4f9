"""The report: one self-contained HTML file, and the same as JSON."""

from .write import as_json
from .write import write as write

__all__ = ["as_json", "write"]
