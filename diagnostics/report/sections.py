"""Sections of the report beyond what every report has: one file each, and one line here."""

from .cost import cost_section
from .latent import latent_section

SECTIONS = (
    latent_section,
    cost_section,
)
