"""Small made-up data sets of the shape of each reference posterior's."""

from __future__ import annotations

from typing import Any

import numpy as np

N = 12


def _real(rng, scale=1.0, n=N):
    return (scale * rng.normal(size=n)).tolist()


def _positive(rng, n=N):
    return rng.gamma(3.0, 0.5, size=n).tolist()


def _codes(rng, low, high, n=N):
    """Every code at least once."""
    return rng.permutation(np.resize(np.arange(low, high), n)).tolist()


def _earnings(rng):
    return {"N": N, "height": _real(rng), "male": _codes(rng, 0, 2), "earn": _positive(rng)}


def _kids(rng):
    return {
        "N": N,
        "kid_score": _codes(rng, 5, 15),
        "mom_hs": _codes(rng, 0, 2),
        "mom_iq": _real(rng),
        "mom_work": _codes(rng, 1, 5),
    }


def _mesquite(rng):
    names = ("diam1", "diam2", "canopy_height", "total_height", "density", "weight")
    return {"N": N, "group": _codes(rng, 0, 2), **{name: _positive(rng) for name in names}}


def _nes(rng):
    return {
        "N": N,
        "partyid7": _codes(rng, 1, 8),
        "real_ideo": _codes(rng, 1, 8),
        "race_adj": _codes(rng, 1, 3),
        "age_discrete": _codes(rng, 1, 5),
        "educ1": _codes(rng, 1, 5),
        "gender": _codes(rng, 1, 3),
        "income": _codes(rng, 1, 6),
    }


def _kilpisjarvi(rng):
    prior = {"pmualpha": 9.5, "psalpha": 100, "pmubeta": 0, "psbeta": 0.03}
    return {"N": N, "x": list(range(1952, 1952 + N)), "y": (9 + rng.normal(size=N)).tolist(), **prior}


def _blr(rng):
    return {"N": N, "D": 3, "X": rng.normal(size=(N, 3)).tolist(), "y": _real(rng)}


def _diamonds(rng):
    X = np.c_[np.ones(N), rng.normal(size=(N, 4))]
    return {"N": N, "K": 5, "X": X.tolist(), "Y": (8 + rng.normal(size=N)).tolist(), "prior_only": 0}


def _schools(rng):
    return {"J": 8, "y": _real(rng, 10, 8), "sigma": rng.uniform(9, 18, 8).tolist()}


def _autoregression(rng):
    return {"K": 3, "T": N, "y": _real(rng)}


def _garch(rng):
    return {"T": N, "y": _real(rng, 3), "sigma1": 0.5}


def _gaussian_process(rng):
    x = np.linspace(-10, 10, 7)
    return {"N": 7, "x": x.tolist(), "y": _real(rng, n=7), "k": rng.poisson(3, 7).tolist()}


def _mixture(rng):
    return {"N": N, "y": (rng.normal(size=N) + rng.choice([-2.0, 2.0], N)).tolist()}


def _drives(rng):
    return {"N": 7, "K": 2, "u": _positive(rng, 7), "v": _positive(rng, 7), "alpha": [[4, 1], [1, 3]]}


def _falcons(rng):
    return {"n": N, "year": np.linspace(-0.95, 1, N).tolist(), "C": rng.poisson(20, N).tolist()}


def _wells(rng):
    names = ("dist", "arsenic", "assoc", "educ")
    return {"N": N, "switched": _codes(rng, 0, 2), **{name: _positive(rng) for name in names}}


def _radon(rng):
    return {
        "N": N,
        "J": 4,
        "county_idx": _codes(rng, 1, 5),
        "log_uppm": _real(rng),
        "floor_measure": _codes(rng, 0, 2),
        "log_radon": _real(rng),
    }


def _surgery(rng):
    n = rng.integers(40, 400, 5)
    return {"N": 5, "n": n.tolist(), "r": rng.binomial(n, 0.08).tolist()}


MAKERS = {
    "GLMM_Poisson_data-GLMM_Poisson_model": _falcons,
    "arK-arK": _autoregression,
    "bball_drive_event_0-hmm_drive_0": _drives,
    "diamonds-diamonds": _diamonds,
    "earnings-earn_height": _earnings,
    "earnings-logearn_interaction": _earnings,
    "eight_schools-eight_schools_centered": _schools,
    "eight_schools-eight_schools_noncentered": _schools,
    "garch-garch11": _garch,
    "gp_pois_regr-gp_pois_regr": _gaussian_process,
    "kidiq-kidscore_interaction": _kids,
    "kidiq_with_mom_work-kidscore_mom_work": _kids,
    "kilpisjarvi_mod-kilpisjarvi": _kilpisjarvi,
    "low_dim_gauss_mix-low_dim_gauss_mix": _mixture,
    "mesquite-logmesquite": _mesquite,
    "mesquite-mesquite": _mesquite,
    "nes1980-nes": _nes,
    "nes2000-nes": _nes,
    "radon_mn-radon_hierarchical_intercept_centered": _radon,
    "radon_mn-radon_hierarchical_intercept_noncentered": _radon,
    "sblrc-blr": _blr,
    "surgical_data-surgical_model": _surgery,
    "wells_data-wells_dae_inter_model": _wells,
}


def synthetic(name: str) -> dict[str, Any]:
    """Reference data of a reference posterior, small and made up: the same ones every time."""
    return MAKERS[name](np.random.default_rng(sorted(MAKERS).index(name)))
