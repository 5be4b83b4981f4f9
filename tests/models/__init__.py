"""The reference posteriors in the declared language, one file per model.

``MODELS`` maps the name of a reference posterior to its model; arguments are named as in the reference data.
"""

import numpy as np

from . import diamonds, kidscore_mom_work, logearn_interaction, logmesquite, radon, wells_dae_inter
from .ark import ark
from .blr import blr
from .earn_height import earn_height
from .eight_schools_centered import eight_schools_centered
from .eight_schools_noncentered import eight_schools_noncentered
from .garch11 import garch11
from .glmm_poisson import glmm_poisson
from .gp_pois_regr import gp_pois_regr
from .hmm_drive_0 import hmm_drive_0, hmm_drive_0_forward
from .kidscore_interaction import kidscore_interaction
from .kilpisjarvi import kilpisjarvi
from .low_dim_gauss_mix import low_dim_gauss_mix
from .mesquite import mesquite
from .nes import nes
from .reference import Reference
from .surgical import surgical

__all__ = ["MODELS", "Reference"]

MODELS = {
    "GLMM_Poisson_data-GLMM_Poisson_model": Reference(glmm_poisson),
    "arK-arK": Reference(ark),
    # The reference leaves out the probability of the first state, one half.
    "bball_drive_event_0-hmm_drive_0": Reference(hmm_drive_0, constant=-np.log(2)),
    "bball_drive_event_0-hmm_drive_0, forward": Reference(hmm_drive_0_forward, constant=-np.log(2)),
    # The reference takes the density of Student's t for that of its absolute value.
    "diamonds-diamonds": Reference(diamonds.diamonds, diamonds.prepare, constant=np.log(2)),
    "earnings-earn_height": Reference(earn_height),
    "earnings-logearn_interaction": Reference(
        logearn_interaction.logearn_interaction, logearn_interaction.prepare
    ),
    "eight_schools-eight_schools_centered": Reference(eight_schools_centered),
    "eight_schools-eight_schools_noncentered": Reference(eight_schools_noncentered),
    "garch-garch11": Reference(garch11, renamed={"beta1": "beta1_raw"}),
    "gp_pois_regr-gp_pois_regr": Reference(gp_pois_regr),
    "kidiq-kidscore_interaction": Reference(kidscore_interaction),
    "kidiq_with_mom_work-kidscore_mom_work": Reference(
        kidscore_mom_work.kidscore_mom_work, kidscore_mom_work.prepare
    ),
    "kilpisjarvi_mod-kilpisjarvi": Reference(kilpisjarvi),
    # The reference leaves out the two orders of two means.
    "low_dim_gauss_mix-low_dim_gauss_mix": Reference(low_dim_gauss_mix, constant=np.log(2)),
    "mesquite-logmesquite": Reference(logmesquite.logmesquite, logmesquite.prepare),
    "mesquite-mesquite": Reference(mesquite),
    "nes1980-nes": Reference(nes),
    "nes2000-nes": Reference(nes),
    "radon_mn-radon_hierarchical_intercept_centered": Reference(radon.radon_centered, radon.prepare),
    "radon_mn-radon_hierarchical_intercept_noncentered": Reference(radon.radon_noncentered, radon.prepare),
    "sblrc-blr": Reference(blr),
    "surgical_data-surgical_model": Reference(surgical),
    "wells_data-wells_dae_inter_model": Reference(wells_dae_inter.wells_dae_inter, wells_dae_inter.prepare),
}
