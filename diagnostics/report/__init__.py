"""The report: one self-contained HTML file, and the same as JSON.

A section of one's own is a function from a posterior to HTML (escaped by itself): one file, and one line in
``SECTIONS``.
"""

from .cost import cost_section
from .write import as_json, write

SECTIONS = (cost_section,)

__all__ = ["SECTIONS", "as_json", "write"]
