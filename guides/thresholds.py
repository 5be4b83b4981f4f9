"""Every number with a meaning in this room: what it says, and where it comes from."""

from __future__ import annotations

# -- choice of a family ----------------------------------------------------------------------------------
FULL_RANK_LIMIT = 400
"""Dimensions up to which a dense covariance is fitted: a step costs ``2 dim`` gradients and ``dim³`` operations
(benchmarks/scaling.py)."""
LOW_RANK_LIMIT = 10_000
"""Dimensions up to which directions beside independent coordinates are looked for (benchmarks/scaling.py)."""
SPARSE = 0.7
"""Share of a dense covariance's numbers up to which a sparse precision is taken (benchmarks/posteriordb.py --guides)."""
SAVED = 400
"""Numbers that a sparse precision must save: below, a dense fit is as fast (benchmarks/posteriordb.py --guides)."""

# -- sizes -----------------------------------------------------------------------------------------------
LARGEST_COVARIANCE = 4096
"""Dimensions up to which a dense covariance is made on request: 128 MiB of doubles."""
LARGEST_DENSE_HESSIAN = 400
"""Dimensions up to which a Hessian without structure is differenced column by column; as `FULL_RANK_LIMIT`."""

# -- elimination of a sparse precision -------------------------------------------------------------------
SMALLEST_TAIL = 4
"""Coordinates that are left to one dense block at the least: smaller ones gain nothing."""
LARGEST_TAIL = 4096
"""Coordinates of the dense block up to which its factor is affordable; as `LARGEST_COVARIANCE`."""

# -- links of a posterior --------------------------------------------------------------------------------
SUPPOSED = ((3, 1), (32, 1), (32, 2), (32, 4), (32, 8))
"""What is supposed of links, one after the other, until the test of the gradient passes: elements up to which a site
is linked as a whole, and the width of bands (tests/guides/test_links.py)."""
LARGEST_LINKS = 2**26
"""Links beyond which a pattern is not sparse: 1 GiB of indices."""
TOGETHER = 8
"""Elements of an axis up to which they are linked as a whole where nothing else is known."""

# -- flows -----------------------------------------------------------------------------------------------
LARGEST_FLOW = 200
"""Dimensions that the layers of a flow bend at most (benchmarks/flows.py)."""
LARGEST_FLOW_WHOLE = 1000
"""Dimensions of a posterior whose globals alone are bent (benchmarks/flows.py)."""
WHOLE_FLOW = 30
"""Dimensions up to which a flow over all of them is the better choice (benchmarks/flows.py)."""
FLOW_BLOCK = 1000
"""Rows of a compiled call of the layers: one shape is compiled."""
DENSE, MOST_COLOURS = 0.9, 0.5
"""Share of all pairs that are linked, and directions for each coordinate, from which on nothing is gained."""
HESSIAN_STEP, HESSIAN_STEP_SINGLE = 1e-3, 3e-2
"""Step of a difference of gradients, in the scale of each coordinate, in double and in single precision: far above
rounding, and short of the next curvature."""
RESOLVED, RESOLVED_SINGLE = 1e-4, 1e-2
"""Relative difference up to which a Hessian recovered under a supposition agrees with the gradient."""

# -- encoders --------------------------------------------------------------------------------------------
LEAST_ENCODER, MOST_ENCODER, ENCODER_UNITS = 32, 512, 8
"""Units of a layer of an encoder that is sized from the model, at the least and at the most, and for each coordinate of a row."""
MOST_SURE = 5.0
"""Normal quantiles beyond which no encoder is sure of a bit: its probability to be the other way stays 3e-7, so that the other is met
in the end. Chosen by hand."""
MOST_CHOSEN = 7.5
"""Logits of a class beyond which no encoder goes either way, with the same sense: one of two classes stays 3e-7."""
FARTHEST = 10.0
"""Sds beyond which inputs of such an encoder count as that far out: what hardly varies among the rows may lie a hundred sds out in
others."""
LAGS = 8
"""Coordinates before it in which each of a chain is linear: those of a Gaussian chain of four states at a time, which needs seven."""
COUPLINGS, COUPLING_UNITS, COUPLING_REACH = 4, 64, 2.0
"""Couplings of a flow of rows, units of a layer of their networks, and log scales that one can lead to (Dinh et al. 2017)."""
SKEW_REACH, TAIL_REACH = 1.0, 0.5
"""Skewness and log tail weights of a coordinate that a flow of rows can lead to, either way (Jones & Pewsey 2009, figure 1)."""
MOMENT_DRAWS, MOMENT_BLOCK = 512, 2**24
"""Draws by which means and sds of bent rows are told, half of them the others with another sign; and numbers at once."""

# -- variational dropout ---------------------------------------------------------------------------------

RATE_FIT = 0.63576, 1.87320, 1.48695
"""Height, place and steepness of the fit of the divergence from a log-uniform prior (Molchanov et al. 2017, equation 14)."""
RATE_FLOOR = 1e-12
"""Added to squared weights before their logarithm is taken: a weight of a millionth is none."""
NOISE_RATE = 3.0
"""log α from which on a weight is noise: 95% of such a unit's output (Molchanov et al. 2017)."""
