"""Sections of the report beyond what every report has: one file each, and one line here."""

from .cost import cost_section

SECTIONS = (cost_section,)
