"""The report: one self-contained HTML file, and the same as JSON and Markdown.

A section of one's own is a function from a posterior to HTML (escaped by itself): one file, and one line in
``SECTIONS`` in `sections`.
"""

from .content import as_json
from .sections import SECTIONS
from .write import write

__all__ = ["SECTIONS", "as_json", "write"]
