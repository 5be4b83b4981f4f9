"""Sections of the report beyond what every report has: one file each, and one line here."""

from .calibration import calibration_section
from .cost import cost_section
from .explained import effects_section, why_section
from .ladder import ladder_section
from .latent import latent_section

SECTIONS = (
    latent_section,
    calibration_section,
    why_section,
    effects_section,
    ladder_section,
    cost_section,
)
