"""Every number with a meaning in this room: what it says, and where it comes from.

A number "by cache" or "by memory" bounds what a call holds; one "chosen by hand" was set where nothing in the benchmarks
told two values apart, and says what it trades. Numbers of a method are its authors'.
"""

from __future__ import annotations

import numpy as np

# -- what *trusted* promises -----------------------------------------------------------------------------
MEAN = 0.15
"""Posterior sds by which the mean of a trusted quantity may be off."""
SD = 0.15
"""Share by which its sd may be off."""
QUANTILE = 0.25
"""Sds by which its 5% and 95% quantiles may be off."""
MONTE_CARLO_SHARE = 4.0
"""Each promise is this many Monte Carlo standard errors wide."""
CAUTION = 0.5
"""Sds, and share of the sd, that *caution* promises."""
STRICTNESS = 1.0
"""Share of its limits that the evidence may use; benchmarks/calibration.py turns it."""
MOST_UNTRUSTED = 0.05
"""Share of all scalar quantities that may be untrusted in a posterior that is called trusted."""

# -- importance weights ----------------------------------------------------------------------------------
KHAT_TRUSTED = 0.5
"""k̂ up to which weights have a finite variance (Vehtari et al. 2024, section 3)."""
EVEN_WEIGHT = 2.0
"""Largest weight, in means, up to which weights are as good as even: k̂ is then that of a bounded tail."""
FEWEST_POSITIVE, PARETO_BLOCK = 25, 2**17
"""Values of which a tail has a shape; numbers of a block where shapes are fitted, 1 MB in double precision."""
UNSEEN = 0.002
"""Share of a posterior expected beyond the largest weight, up to which the tail of the weights does not matter, though its
variance were infinite: it moves a mean by .02 sd where it lies ten sds away, and no quantile by more."""
KHAT_LIMIT = 0.7
"""k̂ from which on no practical number of draws makes estimates reliable (Vehtari et al. 2024, section 3.2.4)."""
KHAT_SHARED = 1.0
"""k̂ from which on weights have no mean: no resampling even of a guide that may be climbed from."""
KHAT_EASY = 0.4
"""k̂ below which weighted draws may do without chains (benchmarks/calibration.py)."""
LEAST_EFFICIENCY = 0.15
"""Effective share of a pool below which chains are asked too (benchmarks/calibration.py)."""
TAIL_DF = 5.0
"""Degrees of freedom of the heavier half of a pool: tails of the posterior are met, and the middle is not thinned."""
FIRST_POOL, LARGEST_POOL, LEAN_POOL, STOPPED_POOL = 8_000, 64_000, 1_000, 2_000
"""Draws of a first pool, of the largest, of one that only gives chains their starts, and of one when time is up."""
LEAST_POOL = 200
"""Draws of the smallest pool: k̂ needs a tail of about 40."""
TRIED_BLOCK = 2**22
"""Coordinates of the draws of a pool where groups may be summed out: joint weights of many would say nothing."""
DEAR_POOL = 1_000
"""Draws of a pool whose density reads more numbers than `DEAREST`."""
DRAWS_PER_KEPT = 4
"""Draws of the pool for each that is kept: resampled draws are then nearly distinct."""
DEAREST = 2**33
"""Numbers that a first pool reads: seconds on any machine."""
LARGEST_BLOCK = 2**25
"""Values held at once: 256 MiB of doubles."""
ENOUGH_NOISE = 0.9
"""Share of a promise's Monte Carlo part that stops the growth of a pool; a pilot's figure is itself noisy."""
HEAVY_WEIGHT, MISSED_MASS = float(np.log(20.0)), 0.01
"""Log weight of a draw, against the evidence, and share of such draws among those of chains, that speak of mass that a
flow does not cover (benchmarks/flows.py)."""

# -- residuals of Stein's identity -----------------------------------------------------------------------
LOCATION, LOCATION_CAUTION = 0.15, 0.5
"""Residual shift in sds up to which a quantity is trusted, and taken with caution: what each promises of the mean."""
SCALE, SCALE_CAUTION = 0.3, 1.0
"""Residual of the variance, as a share: twice what each promises of the sd."""
TYPICAL = 0.98
"""Quantile of the residuals of many coordinates that stands for all but a few."""
FLAT_DIRECTION = 0.05
"""Curvature, in a guide's frame, below which nothing seems to hold a direction."""
FAR, COLLINEAR = 1e4, 1e-6
"""Sds of a coordinate, in its prior's unit, from which on nothing holds it; and the eigenvalue of the correlations from
which on a combination is known a thousand times better than each part."""

# -- groups summed out -----------------------------------------------------------------------------------
FEWEST_GROUPS, LARGEST_TOGETHER, MOST_SHARED = 3, 64, 120
"""Groups from which on summing them out leaves a simpler posterior; coordinates of one, whose Hessian is dense; coordinates
that stay, in which weights hold. Chosen by hand."""
EASY_SHARED, HARD_SHARED = 8, 30
"""Coordinates that stay, up to which a law of them is soon found, and fewer are not worth larger groups; and from which on it is a
matter of luck, and fewer are worth what chains would take (benchmarks/hierarchy.py, benchmarks/others.py)."""
ODD_SHARE = 0.25
"""Share of what is shared up to which a few larger groups join it, for whose sake all others would be treated as large ones."""
LARGEST_ALONE, MEMBERS_FOR_EACH, GAUSSIAN_FOR_EACH = 512, 8, 3
"""Coordinates of a group that others need not be beside, by the cost of its Cholesky factors, and for each coordinate that stays
the least of them, and where it is Gaussian: of regressions with a scale for every coefficient too many stay. Chosen by hand."""
DEAR_MOVES = 16
"""Gradients of a Hessian from which on they are taken beside one another, what they share once: a function more to compile."""
MOST_INVERTED = 32
"""Side of a triangular matrix up to which all of a batch are inverted at once, as if they were full."""
MOST_EIGEN, MOST_COLOURED, DENSELY_LINKED, MOST_FILLED = 8, 20_000, 0.125, 0.35
"""Coordinates of a group up to which its Hessian is treated by eigenvalues; those of all groups up to which links are
coloured, and share of all others that one is linked with up to which they are; share of the elements of a Cholesky factor up to
which it is treated as sparse. By cost."""
MOST_PATHS = 500_000
"""Links of links that are looked at where coordinates are linked with more than that share, by cost: a tenth of a second."""
LINK_PROBES, LINKED = 64, 1e-5
"""Random points at which it is seen which coordinates are linked, and which terms a group moves; and second derivative, in sds of
both, from which on two coordinates are."""
INNER_STEP, INNER_STEP_SINGLE, INNER_STRIDE, FLATTEST = 1e-4, 3e-2, 3.0, 1e-6
"""Step of a difference of gradients, in double and in single precision, and longest Newton step, in sds of a group; least
curvature, in units of that at the mode of reference."""
HERMITE_NODE, HERMITE_WEIGHT = 3.0**0.5, 1 / 6
"""Outer points, in sds, of the rule of Gauss and Hermite of three, and the weight of each."""
EXPECTED_STEPS, EXPECTED_WORTH = 2, 0.5
"""Steps to Gaussians of expected curvature, and share of the noise of those around the modes from which on they are worth their
gradients: it is 0.2 with stochastic volatility, and 1 with a Gaussian process of counts."""
NEAR_MODE, MOST_INNER_STEPS = 1.0, 4
"""Newton step, in sds, at which the centre of a proposal is near enough to a mode; steps after the first."""
MOST_NEWTON, STANDING, MODE_FOUND = 50, 1e-6, 0.3
"""Newton steps of a search for modes, the step in sds at which it has ended, and the last one up to which it has found one."""
FAR_STARTS = (3.0, 10.0, 30.0, 100.0)
"""Distances, in sds of a group, from which its other modes are looked for."""
OWN_MODE, NEGLIGIBLE_MODE = 1.0, 12.0
"""Distance in sds from which another end of a search is another mode, and how far in nats below the first it may lie."""
OWN_PLACE = 4.0
"""Distance in sds of a group from its mode up to which a place is its own."""
LEVEL = 1.0
"""Nats by which the density of a group differs at neighbours of a lattice, up to which there is no peak between them."""
LATTICE, LATTICE_REACH, BENT = 1.2, 12.5, 0.3
"""Step of the lattice of an integral in one dimension, and its length where its points are so few that it has a longer one; and
how its points spread: the t-th lies ``sinh(BENT t) / BENT`` sds from the mode."""
SHIFTS = 256
"""Parts of a lattice's step in which a law is taken as even."""
EDGES_HELD = 1e-4
"""Share of an integral that the outermost points of its lattice may hold: beyond them there is no more."""
INNER_TAIL = 0.1
"""How heavy the tails of a group's draws are (Hoaglin's h) in two dimensions: those of a law with 10 degrees of freedom."""
EXACT_GROUP = 1e-7
"""Departure of a gradient from a line, as a share of it, up to which a group is Gaussian."""
EXACT_NEAR, EXACT_NATS = 1e3, 0.1
"""Distance in sds from which the peak of a Gaussian is known to ten digits, and nats that a draw may be off it."""
LAPLACE_NATS = 3.0
"""Nats above Laplace's approximation, of each group, from which on an estimate is not the integral's but rounding's."""
LARGEST_INNER = 2**19
"""Numbers of one call for integrals: 4 MB in double precision, by the size of a cache."""
INNER_POINTS, INNER_DRAWS = (6, 8, 12, 16, 32, 64, 128), (8, 16, 32, 64, 128)
"""Numbers of points of an integral, in one dimension and in several."""
INNER_NOISE, ROUGH_NOISE = 0.3, 1.0
"""Variance of the log of all integrals together, up to which the weights of θ hardly feel it: exp(−0.3) of their effective
size is left; and that up to which they show where they lie."""
LOST, APPROACHES, APPROACH_DRAWS, APPROACH_GAIN = 30, 20, 16, 0.5
"""Effective draws of the first round below which its law is led to the mass by gradients; steps, pairs of draws, and nats that
the bound gains."""
LARGEST_APPROACH, LARGEST_CHANGE, LARGEST_PULL = 3.0, (0.25, 4.0), 4.0
"""Longest of these steps, in sds; change of a precision; gradient of a draw, beside the middle one's."""
TOLD, TEMPERINGS = 2, 30
"""Effective draws for each number of a mean that a law is made of at the least, by a power of the weights; its bisections."""
LARGEST_AGAIN, BY_CHANCE = 20, 1.0
"""Largest weights whose integrals are made again, and nats that the middle one of them loses where chance made them large."""
FIRST_SHARED, LEAST_SHARED, MOST_SHARED_DRAWS = 250, 1500, 16_000
"""Draws of what groups share: of the first round, of all at the least, and at the most."""
MOST_SHARED_LOST, MOST_SHARED_TRIED = 2000, 8000
"""Draws at the most where hardly one counts, and where no law is found."""
FEWEST_SHARED, FEW_SHARED = 500, 2**24
"""Draws of what very many groups share, at the least, and coordinates of as many draws as there are otherwise: the groups' own
draws are even, and what they share is nearly normal."""
FEW_QUANTITIES = 64
"""Quantities, or a few more, whose noise is looked at before that of all."""
VAIN_DRAWS = 2.0
"""Times the most draws that a quantity would need, as the first ones tell, from which on none waits for it."""
SHARED_PER_KEPT = 0.375
"""Draws of what groups share for each that is kept, at the least: with four draws of the groups for each, as many and a half."""
SLACK = 1.1
"""Factor of the draws that an estimate of the noise asks for: it is itself noisy."""
TRIED_SHARED, UNHEARD = 64, 5.0
"""Draws at which the noise of the integrals is seen, and nats below the middle one's from which a weight makes no difference."""
LEAST_TRIED, TRIED_COORDINATES = 16, 2**20
"""Such draws at the least, and their coordinates at the most: of many groups the noise is a sum, and the same at all draws."""
WORTH, ROUGH_WORTH = 0.5, 0.15
"""Effective size, as a share, below which a law that follows the weights is looked for, as above the k̂ of trust; and that from
which one is found, where the integrals are noisy."""
WATCHED = 64
"""Groups, those whose draws are worth least, of which the weights are looked at one by one."""
TAIL_SHARE, TAIL_SCALE, KERNELS, WIDTHS, HELD_BACK = (
    0.1,
    1.6,
    200,
    (1.0, 0.7, 0.5, 0.35, 0.25),
    (0.0, 0.3, 0.6, 1.0),
)
"""Share of the one wide Student t and its scale, kernels, their widths as a share of the posterior's, of which 1 is one
Gaussian, and how far moments are held back to those of the law before."""
CONTROLS, CONTROLS_SHARE = (-1.645, 1.645, 0.0, -0.7, 0.7), 0.125
"""Levels of each coordinate, in sds of a law, whose probabilities under it are known, those first that matter most; and share of
the draws that there may be such probabilities."""
DRAWS_FOR_EACH = 8
"""Draws for each coefficient of a regression that tells along which directions scales follow another coordinate."""
FUNNEL_SEEN, FARTHEST_FUNNEL = 2.5, 1.5
"""Standard errors from which on a scale follows another coordinate, and how many sds of that it does at the most."""
LEAST_LOG = -1e3
"""Log density that a law has at the least where laws are compared: one draw out of reach is one."""
LEAST_HELD = 1e-6
"""Share of the last law's covariance that is added in any case, so that a few draws span all directions."""
KERNELS_HELP, MOMENTS = 12, 4000
"""Dimensions up to which kernels narrower than all are tried; draws by which a law is compared, and its moments known in other
coordinates."""
FARTHEST_SCORE = 37.0
"""Normal score of the least probability in double precision: no value lies beyond."""
MAPPED, SAME_SCORE = 5.0, 1e-5
"""Normal scores up to which a map has to be the inverse of its inverse, to within such a difference."""
CUT_NEAR = 1e-5
"""Distance from the cut, in sds of the normal, up to which its density is flat."""
GUARD, GUARDED, HALVINGS = 0.02, 5.0, 60
"""Share of draws that guard the tail of a positive quantity towards zero, and sds of it from zero up to which they do; halvings
of an interval until it is rounding's."""
DEEP = -650.0
"""Log probability below which a tail is continued by its leading term: double precision holds no smaller one."""
LARGEST_SUMMED = 2**27
"""Coordinates of all draws of what groups share together with the groups' own: 1 GiB of doubles."""
BINS, OUTERMOST = 200, 20
"""Bins that draws are put together to where a law of one coordinate is fitted to them, and those on either side that stay alone."""
KNOTS, REGRESSED = 9, 0.15
"""Knots of a regression's splines between −2.5 and 2.5 sds; its error, in nats, up to which its slopes are those of an
integral."""
SAME_DENSITY = 1e-5
"""Difference, and share, up to which the density at a draw is that of its terms: rounding, in either precision of its sums."""
WILD, NEGLIGIBLE_SHARE = 10.0, 1e-3
"""Size of a gradient, for a distance of one sd, from which on it is rounding's, and share of the mass that may have such ones."""
REPEATS = 4
"""Draws of every group for each θ."""
STRATA = 64
"""Parts of equal chance that the draws of a group at as many θ are one each of."""
BEND_SEEN, BEND_GAIN, BENT_MOST = 2.5, 4.0, 6.0
"""Standard errors of skew and kurtosis, and gain in log likelihood, from which on a coordinate is bent; largest log of a
tail's rate (a gamma ratio of shape e^6 is normal)."""

# -- chains ----------------------------------------------------------------------------------------------
RHAT = 1.01
"""R̂ of chains that have mixed (Vehtari et al. 2021)."""
RHAT_CAUTION = 0.05
"""R̂ − 1 up to which a quantity is taken with caution (Gelman et al. 2013: 1.1 for R̂ without ranks)."""
ENOUGH = 400
"""Effective draws of bulk and tails (Vehtari et al. 2021)."""
BFMI = 0.3
"""E-BFMI below which momenta explore too slowly (Betancourt 2016)."""
DIVERGENT = 0.002
"""Share of transitions that may diverge (benchmarks/posteriordb.py: one in 4,000 of a funnel that is met is rare)."""
MANY_DIVERGENT = 10
"""Times as many from which on no quantity is told apart from those that diverged."""
LEAST_ACCEPTANCE = 0.5
"""Acceptance of short chains whose step size aims at 0.8 below which no step size suits all of the posterior."""
MOVED = 12
"""Autocorrelation times that each of many short chains has to move (benchmarks/calibration.py)."""
HARDLY_MOVED, HARDLY = 3, 9.0
"""Autocorrelation times below which one direction may hold the others back, and what is then counted of theirs."""
SLOW_SHARE, VALLEY, LEAST_PART, VALLEY_GRID = 0.2, 0.5, 0.05, 200
"""Share of a direction's variance between the means of chains from which on it is slow; density, as a share of the lower of two
peaks, below which there is a valley between them, if it has as large a share of the chains on either side; places where it is
looked for (benchmarks/modes.py, benchmarks/others.py)."""
CHAIN_DRIFT, DRIFT_CAUTION = 0.1, 0.5
"""Change between the halves of chains, beyond its noise and in sds."""
MISSED_AT_DIVERGENCES = 0.75
"""Sds by which a quantity may be away where transitions diverge."""
TAIL = 0.35
"""Tail index from which on the error of an sd is not known: it takes a fourth moment, which 0.25 would be for the exact
index."""
NO_SD = 0.7
"""Tail index with which there can hardly be an sd, which needs 0.5."""
SHARED_TAILS = 50
"""Quantities whose median says whether the weights reach the tails: they all have the same weights, and the index of a
single one is noisier than its distance from the limit."""
MIRRORED = 0.1
"""Sds by which a symmetry of the posterior may move a quantity's law."""
MANY_QUANTITIES, CHAIN_BATCHES = 1000, 20
"""Quantities from which on batch means replace the estimates one by one, and batches of a chain."""
SHORTEST_CHAIN = 4
"""Draws of a chain by which it can be judged."""
FEW_CHAINS = 32
"""Chains below which each is long."""
FEWEST_SHOWN, MOST_SHOWN = 4, 16
"""Superchains that many short chains are shown as (Margossian et al. 2024)."""
NUM_CHAINS = 128
"""Short chains: their spread needs no spectral window, and a batch of their gradients fills a processor."""
LEAST_CHAINS = 32
"""Fewer short chains say too little by their spread."""
SHORT_WARMUP, SHORT_DRAWS, LONGER_DRAWS, MOST_SHORT_DRAWS = 40, 80, 160, 1280
"""Iterations of short chains that set the step size, draws of the first, of the second round, and of the longest."""
LEAST_SHORT_DRAWS = 40
"""Draws of a round of chains, broken off, by which it can be judged."""
SHORT_ACCEPT, CAREFUL_ACCEPT = 0.8, 0.95
"""Acceptance at which the step size aims, and where transitions diverge (Stan's adapt_delta)."""
CHAIN_NUMBERS, WIDE_NUMBERS, DEAR_NUMBERS = 1e9, 4e9, 4e10
"""Numbers that the gradients of short chains read, of a wide posterior's, and of one whose gradient is dear: seconds on
any machine, and the same gradients on all, so that the same seed gives the same result."""
LEAST_CHAIN_GRADIENTS, MOST_CHAIN_GRADIENTS = 500_000, 1_000_000
"""Bounds of that."""
CACHED = 2**17
"""Numbers that fit into a core's cache: larger batches are slower."""
DIVERGENT_ENERGY = 1000.0
"""Loss of energy from which on a transition counts as divergent (Stan, NumPyro)."""
TRAJECTORY, TRAJECTORIES = 1.6, (0.4, 1.2)
"""Length of a trajectory in a whitened frame, a quarter turn, and what it is multiplied by at random (Neal 2011)."""
MOST_LEAPFROGS = 32
"""Leapfrog steps of a trajectory."""
STEP_JITTER = (0.8, 1.2)
"""Share of its step size that each chain takes, at random (Neal 2011)."""

# -- other modes and symmetries --------------------------------------------------------------------------
FARTHEST = 60.0
"""Sds of the guide at which a search for other modes starts at most (benchmarks/modes.py)."""
LEAST_MASS = 0.03
"""Share of the posterior that a mode among the draws must promise to be looked for."""
NEGLIGIBLE = 7.0
"""Nats below the fit's bound from which on a mode elsewhere has a mass below one in a thousand."""
SCOUTS, FEWEST_SCOUTS, MOST_SCOUTS = 2**21, 256, 2048
"""Numbers among which places are looked for from where narrow modes are met, and bounds of how many places."""
FEW_DIMENSIONS = 20
"""Dimensions up to which random places can meet a narrow mode."""
LARGEST_SEARCH = 2**17
"""Numbers per gradient from which on few places are searched."""
FEWEST_STARTS, MOST_STARTS = 4, 16
"""Pairs of starts of a search."""
WITHIN = 0.999
"""Share of the draws within the radius from which on a place is elsewhere."""
MOST_COMPONENTS = 8
"""Modes that are weighed together."""
LARGEST_MIXTURE = 400
"""Dimensions up to which a dense covariance for every mode is affordable."""
STARTS_AROUND = 16
"""Loose fits around every component (benchmarks/modes.py)."""
FEWEST_LEADS, ASKED = 3, 4.0
"""Points that lead to a mode: where fewer do, none may lead to others (Good 1953); nats below the best component up to
which this is asked."""
NEGLIGIBLE_COMPONENT = 10.0
"""Nats below the best component from which on a mode is left out: its mass is below one in twenty thousand."""
SLOPE, SLOPES = 20.0, 2.0
"""Nats, and nats a dimension, by which a bound on the way to a mode may lie lower still (benchmarks/modes.py)."""
SAME_MODE = 2.0
"""Sds between centres up to which two Gaussians are one mode."""
EDGE = 0.05
"""Share of a component that may hold a reported quantile."""
SEARCHED = 5
"""Dimensions up to which, where there are several modes, none much narrower is missed (benchmarks/modes.py)."""
LARGEST_AXIS, LARGEST_SET, LARGEST_COUNT = 12, 5, 512
"""Elements of an axis that are exchanged, sites that move together, and symmetries that are tried."""
MOST_SYMMETRIES = 5
"""Symmetries that are named in findings."""

# -- starts ----------------------------------------------------------------------------------------------
START_RADIUS, START_SD = 2.0, 0.1
"""Half the edge of the cube of dispersed starts (Stan's), and their first sd."""
START_DRAWS, START_FRESH = 4, 16
"""Draws on which a loose fit is made, and on which its bound is taken: it only says where to go on."""
START_TOLERANCE, LOOSE = 0.1, 2.0
"""Nats at which a start stops, and where the guide's own fit goes on from there."""
LARGEST_START_STEP = 20.0
"""Largest change of a coordinate in a step."""
LOG_SD_BOUND = 40.0
"""Bound of log sds: their squares stay finite."""
RECENTRED = 0.2
"""A smaller change of a centring is not worth another fit (benchmarks/posteriordb.py)."""
PRIOR_DRAWS, MOST_SETTLINGS = 64, 10
"""Draws of the prior among which starts are chosen; most fits, each in units of the one before."""
RADII = (2.0, 1.0, 0.3, 0.05, 5.0, 10.0)
"""Cubes in which a point of finite density is looked for."""
FEW_ELEMENTS = 32
"""Elements of a site that others may depend on as a whole."""
LARGEST_DENSE = 1000
"""Dimensions up to which frames are dense: a product with a thousand draws takes milliseconds."""

# -- natural gradients -----------------------------------------------------------------------------------
DAMPED, GROWN, SPENT = 0.4, 1.6, 1e-4
"""What the length of a refused step, and of a taken one, is multiplied by; and the length that is none."""
NOISE = 3.0
"""Standard errors by which a bound may lie below the one before."""
FEWEST_DRAWS = 32
"""Draws of a step at the least; ``2 dim`` from 16 dimensions on, which whitening needs."""
NATURAL_STEPS, SPARSE_STEPS, LOW_RANK_STEPS = 100, 60, 12
"""Most steps."""
GRADIENT_AT_REST, CURVATURE_AT_REST, TRACE_AT_REST = 0.1, 0.15, 1.0
"""Whitened gradient, and distance of the whitened curvature from one, of the worst direction at rest; distance of their
sum from the dimension: heavy tails in many dimensions hide a common scale."""
TEMPERED_AT_REST, TEMPERED_STEPS, GROWTH_OF_ROWS = 0.5, 12, 8
"""The same of a posterior of some rows, which only leads to the next; its steps, and how many times as many rows."""
LARGEST_MOVE = 1.5
"""Root mean square of a step, in sds."""
LEAST_CURVATURE, CURVATURES = 0.25, (0.25, 4.0)
"""Whitened curvature that a step counts on at the least, and bounds within which it changes the scale."""
LARGEST_STEP = 0.75
"""Share of a Newton step of a precision: no variance grows more than fourfold at once."""
BETTER = 1e-3
"""Nats from which on a bound is better."""
STALE = 3
"""Steps without a better bound after which more draws are taken."""
FLAT, WIDEST, NARROWEST = 1e-3, 1e6, 1e-12
"""Whitened curvature, and times its first width, of a Gaussian that runs away; times at which nothing is finite."""
NARROWEST_PRECISION = 1e24
"""A precision at which nothing is finite."""
RESOLVED_BOUND = 1e-6
"""Share of a bound that sums over many rows do not resolve."""
SPARSE_DRAWS, SPARSE_HESSIANS, NUM_AVERAGE = 32, 8, 8
"""Draws for the mean gradient and, of these, for the mean Hessian; steps that are averaged at the end."""
WIDENINGS, HALVINGS_OF_A_STEP = 3, 30
"""How often draws are doubled, and a step is halved until its precision is one."""
COMMON, STEADY = 0.01, 0.02
"""Share of the dimension by which the curvatures' sum may differ; and change of a Hessian that is the same everywhere."""
AGREED, POLISH_DOUBLINGS, POLISH_STEPS, POLISH_TOLERANCE = 0.1, 2, 60, 0.01
"""Nats between the bounds on fitting draws and on fresh ones; doublings, steps, and nats of the quasi-Newton polish."""

# -- quasi-Newton ----------------------------------------------------------------------------------------
LBFGS_STEPS, LBFGS_MEMORY, PATIENCE = 300, 12, 4
"""Most iterations; pairs that are kept; iterations that together have to gain the tolerance."""
ARMIJO, CURVED, BACKTRACKS = 1e-4, 1e-10, 20
"""Share of the promised descent (Nocedal & Wright 2006); cosine of a pair that has curvature; lengths tried."""
SHORTEST_BACK, LONGEST_BACK = 0.05, 0.5
"""Bounds of what a refused length is multiplied by."""
MEAN_FIELD_DRAWS, FIXED_STEPS, FIXED_TOLERANCE, MODE_TOLERANCE = 32, 300, 1e-4, 1e-9
"""Draws of a bound at fixed draws (Giordano et al. 2024 take 30); iterations; nats at which it, and a mode, is found."""
DIFFERENCE = 6e-6
"""Step of a central difference in double precision: the cube root of its resolution."""

# -- low-rank guides and linear response -----------------------------------------------------------------
LARGEST_RANK = 64
"""Directions of a guide at most (benchmarks/scaling.py)."""
LOW_RANK_DRAWS, PROBES = 32, 64
"""Draws for the mean and the bound; random vectors for the diagonal of the Hessian."""
KRYLOV_BLOCK, KRYLOV_ROUNDS, LARGEST_SPAN = 4, 6, 96
"""Columns of a round, rounds between two diagonals, columns of one search (Saad 2011, chapter 6)."""
GROWTH_OF_SDS, LEAST_PRECISION = 10.0, 0.05
"""Factor by which an sd grows at once; share of its own precision that a diagonal keeps, whatever the probes say."""
WORTHLESS, ENOUGH_GAINED, SHARE_GAINED = 0.01, 0.5, 0.02
"""Nats below which a direction is not kept; a step that gains fewer, or less of what all have gained, is the last."""
DAMPED_MIXES = (1.0, 0.4, 0.15)
"""Shares of the new curvature that are tried."""
MOST_DROPPED, COMPLETE = 1.0, (0.5, 2.0)
"""Nats that the rank may drop, and curvatures left over, of a family that holds the best Gaussian."""
RESPONSE_DRAWS, MOST_RESPONSE_GRADIENTS, RESPONSE_TOLERANCE = 16, 50_000, 0.02
"""Draws over which the Hessian of a linear response is averaged; gradients; largest error of an sd."""
MOST_RESPONSES = 64
"""Coordinates whose covariance linear response is asked for."""
HESSIAN_STEP = 0.05
"""Step of a difference of gradients, in sds of the guide."""
LARGEST_CALL = 2**22
"""Numbers in one call of the density: 32 MiB of doubles."""

# -- flows -----------------------------------------------------------------------------------------------
FLOW_PILOTS, FLOW_CALL, FLOW_DRAWS = (1e-2, 3e-3, 1e-3), 100, 128
"""Rates of the pilots; steps of a compiled call, and of a pilot; draws of a step (benchmarks/flows.py)."""
FLOW_WINDOW, FLOW_GAIN, FLOW_HALVINGS, MOST_FLOW_STEPS = 6, 0.005, 4, 6000
"""Calls whose bounds are compared, the later half against the earlier; nats of growth; halvings of the rate; steps."""
FLOW_LEGS, NUM_CHECKED, FLOW_KHAT_ENOUGH, FLOW_ENOUGH = 2, 8_000, 0.3, 0.5
"""How often it goes on; draws by which it is judged; k̂ and effective share of a flow that needs no more steps."""
FLOW_FAILED = 0.5
"""Share of the draws with no finite density from which on a call is undone."""
MOST_FLOW_DIMENSIONS, LEAST_FLOW_STEPS, FLOW_PRODUCTS, MOST_FLOW_NUMBERS = 100, 1500, 30, 4e10
"""Bent dimensions, and steps, of a flow that the ladder tries by itself; products of a matrix with draws in the time that
a model takes for one number; numbers that its gradients read (benchmarks/flows.py)."""

# -- stochastic ascent -----------------------------------------------------------------------------------
ADAM, ADAM_TINY = (0.9, 0.999), 1e-8
"""Decay of the moments and guard of the division (Kingma & Ba 2015)."""
ASCENT_CALL, ASCENT_BYTES = 200, 2**26
"""Steps of a compiled call, and bytes that their batches and draws may hold."""
ASCENT_PILOTS, ASCENT_PILOT_STEPS = (0.3, 0.1, 0.03), 200
"""Rates of the pilots, in units of the sd at the start, and their steps (benchmarks/svi.py)."""
ASCENT_EVERY, ASCENT_WINDOW, ASCENT_PASSES = 25, 24, 2
"""Least steps between iterates; iterates that are compared and averaged; passes over the data in a window."""
MOST_ASCENT_STEPS = 60_000
"""Steps at most."""
DRIFT, SETTLED, SETTLED_SHARE = 1.1, 0.05, 0.95
"""R̂ of the halves of a window at rest (Dhaka et al. 2020); sds, and change of a log sd, between averages that agree;
share of the parameters of each site that must."""
ROLLBACKS, LEAST_RATE, ASCENT_FAILED = 8, 1e-5, 0.5
"""Blocks that are undone at most; a rate that is spent; share of steps without a finite bound that undoes a block."""

# -- batches and memory ----------------------------------------------------------------------------------
MOST_BATCHES, BATCH_SHARE = 8, 16
"""Batches between anchors, and how many times over they must fit into all rows."""
MOST_BLOCKS, NUM_POINTS = 64, 3
"""Blocks up to which the check of batches reads all rows, and points at which it does."""
MEMORY_SHARE, MADE = 0.25, 16
"""Share of the memory that a gradient may take, and numbers that it makes of each that it reads."""
TIGHT_BLOCKS, LEAST_ROWS, FEWEST_ROWS = 16, 256, 32
"""Batches that a gradient of that size is taken in; rows in the smallest by itself, and after memory ran out."""
CODES_BLOCK = 2**20
"""Rows of codes that are counted at once: 8 MiB."""
DATA_BLOCK, ROWS_TIMES_DRAWS = 2**18, 2**15
"""Numbers of data that a block reads, by cache; rows times draws of one call."""

# -- refinement by chains --------------------------------------------------------------------------------------
NUTS_CALL, SHORT_CALL = 50, 10
"""Iterations of a compiled call: of few cheap chains, and of dearer ones."""
WARMUP, LONG_WARMUP, MEETING = 50, 800, 300
"""Warm-up with a metric that is known and without, and after how much of it the later half is looked at
(benchmarks/refine.py)."""
FIRST, FIRST_OF_MANY = 200, 20
"""Draws of each chain before they are first judged."""
STEPS, FREE_STEPS = 7, 15
"""Gradients of a draw to count on at the least: metric known, and not."""
LARGEST_METRIC, FREE_METRIC = 300, 50
"""Dimensions up to which a metric is dense: the fit's, and one found."""
PILOT = 10.0
"""Seconds up to which nothing is projected before the first draws."""
PLAIN = 2000
"""Iterations of each chain of NUTS from nothing: NumPyro's and Stan's 1,000 of warm-up and as many draws."""
TOGETHER = 1.05
"""R̂ below which chains share the metric of all."""
ACCEPT = (0.8, 0.95, 0.99)
"""Acceptance that the step size aims at, and where transitions diverge (Stan's adapt_delta)."""
MANY_ENOUGH = 5
"""Draws a dimension of which a covariance can be taken."""
DEAR, TRIED = 5.0, 50
"""Seconds that chains take or are projected to take, from which on a pilot is worth its own; its draws of each chain."""
MOST_DRAWS, MOST_HELD = 20_000, 2**27
"""Draws of each chain; values held at once, 1 GiB of doubles."""
SUPERCHAINS, MOST_CHAINS = 16, 8192
"""Groups of many short chains that begin at one point (Margossian et al. 2024); chains."""
PLAIN_GRADIENTS, DEAR_SECONDS = 4 * 2000 * FREE_STEPS, 10.0
"""Gradients of four chains of 2,000 draws from nothing; seconds up to which no stage is too dear."""
MOST_SEARCHED = 3
"""Times the price of a search for modes that it may take: those that found any took less than twice (benchmarks/modes.py)."""
GATHERED = 5000
"""Gradients, for each dimension, of the search for a mode and of the fits that it leads to."""
AFFORDABLE, TIMES = 60.0, 10.0
"""Seconds, or times the fit's, that refinement by itself may take."""
FEW_SHORT = 0.01
"""Share of the quantities that may be at caution without chains for them alone, which take longer than all the rest."""
LEAST_MENDED = 4000
"""Effective draws of weights from which on chains of their usual length, 4 × 1,000 draws, have no less noise."""
LONG_CHAINS, LOCKSTEP_CHAINS = 4, 64
"""Chains of NUTS; and of HMC in lockstep, four from each of 16 points: pairs leave nested R̂ above its limit
for twice as long, and with eight the warm-up, which each pays, costs most. Chosen by hand on three posteriors."""
LOCKSTEP_WARMUP, METRICS = 200, (0.05, 0.1, 0.2, 0.4, 0.8)
"""Warm-up of many chains without a metric, and the shares of a warm-up after which one is taken: windows that double
(Stan Reference Manual, chapter 15), whose draws are those of all chains."""
LENGTH, LENGTHS, LENGTH_RATE, LENGTH_DECAY = 2.0, (0.1, 10.0), 0.05, 0.95
"""Longest trajectory at first, in sds, and its bounds; step of its log, and memory of the slope's square (Hoffman, Radul &
Sountsov 2021 take 0.025 for longer warm-ups, and 0.95)."""
SHORTEST_SHARE, LONGEST_PATH = 0.3, 1000
"""Share of the longest that each trajectory takes at least, chosen by hand: 0, 0.3 and 0.5 are about as good;
leapfrog steps at most (Hoffman, Radul & Sountsov 2021)."""
LARGE_LOCATION, LARGE_SCALE = 0.5, 1.0
"""Residuals of a fit whose metric is not kept: what *caution* promises."""

# -- what is kept of a fit -------------------------------------------------------------------------------
PROBABILITIES = (0.05, 0.5, 0.95)
"""Quantiles of a summary."""
COLUMNS = 4
"""Quantities whose draws are worked on at once: those of 30,000 draws are 1 MB, by the size of a cache."""
SHAPED, NOISY = 256, 2048
"""Quantities whose tails, and whose noise, are looked at together: of more there would be copies of all draws."""
ESTIMATED = 2**17
"""Values of quantities that are worked on at once, 1 MB in double precision, by the size of a cache."""
FEW_OF_DRAWS = 4096
"""Draws, or a few more, of which the places of tails are quantiles where only the draws beyond are counted."""
LEAST_INEFFICIENT = 1e-2
"""Share of the variance that is left of an estimate, at the least, where others are known."""
STRETCH = 3.0
"""Standard errors of its probability on both sides of a quantile, over which the density there is taken."""
LARGEST_GROUP, GROUP_BLOCK, MOST_DENSITIES = 2**27, 256, 2**30
"""Numbers of a group of predictions, 1 GiB of doubles, draws of a call that makes it, and outcomes times draws beyond which the log density
of draws is left out: of networks 4,000 draws of 5,000 images take seven minutes."""
NUM_PRIOR_DRAWS = 1000
"""Draws of the groups of the prior."""
LEAST_GROUP_DRAWS = 200
"""Draws of a group at the least: fewer cannot show a tail probability of 1%."""
CHECKPOINT_SECONDS = 60.0
"""Seconds between two writes within a stage."""
NUM_ROWS = 20
"""Quantities that a posterior shows of itself."""
PROBE_DRAWS, RESOLVED_SD = 4, 1e-4
"""Draws whose log density is kept to tell the model by; share of an sd that single precision has to resolve."""
LARGEST_RECORD, DENSEST = 2**28, 1032
"""Bytes of a record, the table of about a million quantities; bytes that one byte of deflate can stand for (zlib's
technical notes)."""
REDRAWN = 0.1
"""Seconds between two looks of a bar."""
LOOKED_AT = 1000
"""Outcomes by which a constant one is told first."""
SHRUNK, SHRUNK_TOLD, ALIKE = 1e-5, 0.05, 1e-6
"""Learned spread of a column in its sds that is nothing, and of one that is constant (in those of others) or a sum of others, whose spread
nothing holds; and sd of a constant column by what it is."""
NO_NOISE, MOST_COLUMNS, SEEN_ROWS, FEW = 1e-9, 2000, 5000, 3
"""Eigenvalue of a correlation matrix that is zero but for rounding; columns up to which it is asked for, rows by which columns are told,
and columns that are named."""
NUM_TWINS = 4000
"""Draws that are carried by each symmetry: a tenth of an sd is six of their standard errors."""
RECENTRING_DRAWS = 16
"""Draws of a fit by which the centring of each element is chosen."""
WORSE = 0.5
"""Nats by which a polished bound, on other draws, may lie below the one before."""
WORTHWHILE_DRAWS = 320
"""Draws of each short chain up to which more are always worth their while."""
MANY_DIVERGENCES_WIDE = 5
"""Times as many divergences in many dimensions, where each trajectory passes more necks."""
MODES_APART = 3
"""Sds between the nearest centres from which on several modes are told of."""
TYPICAL_STEPS = 10
"""Steps of a natural gradient from a loose start (benchmarks/posteriordb.py); for the price of a fit before it begins."""
FEWEST_KEPT = 100
"""Draws that are kept at the least, however many quantities there are."""
RESPONSIBILITY_BLOCK = 512
"""Draws of a call that says how likely each value of a discrete site is."""

# -- networks --------------------------------------------------------------------------------------------
DEEP_ADAM, DEEP_TINY = (0.9, 0.999), 1e-8
"""Memory of Adam's two moments, and what keeps its quotient finite (Kingma & Ba 2015)."""
EMA = 0.998
"""Memory of the average of learned arrays that is evaluated (Polyak & Juditsky 1992)."""
CLIPPED, NORM_MEMORY = 4.0, 0.98
"""Norm of a gradient beyond which it is shortened, in units of the usual one, and the memory of the latter."""
DEEP_PILOTS, DEEP_PILOT_STEPS = (3e-3, 1e-3, 3e-4), 150
"""Rates that pilots try, the largest first, and their steps."""
DEEP_PATIENCE, RATE_FALL = 4, 0.5
"""Looks without a gain after which the rate falls, and over what share of the steps before."""
DEEP_TOLERANCE, DEEP_TOLERANCE_SHARE = 0.003, 1e-4
"""What a bound per row must gain to count, in nats and as a share of it."""
TIGHT_DRAWS = 16
"""Draws of a row for the weighted bound, which is to gain nothing either before the rate falls, and has a say in what is best then."""
HELD_ROWS = 1024
"""Rows at whose bound a training looks, at the most."""
MOST_DEEP_STEPS, DEEP_BLOCK, MOST_CALLS, DEEP_CALL = 200_000, 75, 7, 2**24
"""Steps of a training at the most; those of a compiled call, so that one is compiled for pilots and all that follows; how many such
calls lie between two looks; and numbers that the draws of a call may be."""
ROW_DRAWS, ROW_WIDE, ROW_BLOCK = 4000, 1.5, 2**22
"""Draws of a row for its weights; how much wider half of them are than its law, over the root of its dimensions; and numbers that
the networks compute at once."""
ROWS_ALIKE = 1e-4
"""By how much, over one and its size, the log density of a row may differ where it stands beside other rows: single precision
differs by a hundredth of that, and what sees the mean of a batch by a hundred times as much."""
ROW_WORK, AUDITED, WEIGHED_NUMBERS = 5e10, 300, 2**23
"""Products of weights and draws up to which all rows are weighed, and rows that are audited otherwise: of so many without a
fault no more than one in a hundred is wrong. And coordinates of draws that are held at once."""
MOST_KEPT_ROWS, KEPT_NUMBERS, MOST_KEPT_DRAWS = 10_000, 2**22, 400
"""Rows that a posterior holds, numbers of their data, and draws of them, where all would be more than it can hold: a summary of more is read
by nobody, and rows in bounded memory leave no room for it."""
AUDIT_PILOT = 60
"""Rows by which it is known that an encoder alone does not do, before an audit of all that is asked for."""
ROWS_TRUSTED, ROWS_CAUTION = 0.01, 0.10
"""Shares of rows that are not trusted up to which a plate is *trusted*, or *caution*."""
HELD_SHARE, MOST_BATCH, HELD_BYTES = 0.1, 256, 2**31
"""Share of rows that are held out, rows of a batch at the most, and bytes of data that lie where the target computes."""
SCALED_BY, FAR_SEEN, CONSTANT = 10_000, 5.0, 1e-6
"""Rows by which the inputs of an encoder are scaled; how far out none of theirs is then, in the new units; and the share of the usual
scale below which an input is a constant, of that scale. A pixel that was on in one row of a thousand, or in none, and is on in two rows
that are held out, cost the digits 3 nats a row: their encoder was believed to have learned all it could after 100 times over the rows."""
HARDLY_VARIES = 0.1
"""Share of the usual sd that the sd of each column is taken for at the least where distances between rows are compared."""
ACTIVE_VARIANCE, ACTIVE_NATS = 0.01, 0.01
"""Variance of the means of a unit above which it is active (Burda et al. 2016), and divergence below which it has collapsed."""
SANDWICH, SANDWICHED = 0.1, 100
"""Nats between bounds of a log probability from both sides up to which it is trusted, on so many simulated rows."""
MOST_AT_ONCE = 256
"""Rows whose neighbours are looked for at once."""
MEAN_DRAWS = 1000
"""Draws of a row whose outcomes are averaged."""
DRAWN_MEANS = 256
"""Rows that are drawn for the mean of one whose elements are drawn one after the other: an error of a sixteenth of an sd."""
OVER, OVER_WIDE, MOST_OVER = 0.15, 1.5, 8
"""Share of the draws of a row that are from afar, how much farther than the fitted rows' coordinates, and coordinates up to which
they are: with more none would meet a mode."""
ELSEWHERE_ROWS, ELSEWHERE_STEPS, ELSEWHERE_WIDE = 60, 150, 0.3
"""Rows whose laws are looked for elsewhere, from four beginnings each; steps from there, and sds at the beginning, as a share of how far
out the coordinates of fitted rows lie: steps are in these."""
ELSEWHERE_DRAWS, ELSEWHERE_INSIDE, ELSEWHERE_NOISE = 1000, 0.99, 4.0
"""Draws where such laws end, the share of them that makes out a region, and the standard errors by which its mass is to be greater than
the row's own draws say."""
ELSEWHERE_SHARE = 0.02
"""Share of a row's mass in a place that its draws do not know from which on it is not trusted: eight sds away it moves the mean by what
*trusted* promises."""
ROW_KEPT = 0.24
"""Share of the draws of a row that stay where others follow."""
ROW_ENOUGH = 0.7
"""Share of a row's draws that its effective ones are to be: with half of them two rows in five have no trusted quantile among eight
coordinates, with seven in ten all have (scikit-learn's digits)."""
ROW_ROUNDS, ROW_EACH, LEAST_ROW_SIZE, LEAST_EFFECTIVE = 2, 16, 1143, 100
"""Rounds in which other draws are tried for rows whose weights fall short, draws of a call of theirs, effective draws up to which
they do (those that the 5% quantile's promise takes), and those by which the moments of a row's draws are taken."""
TRAVERSED, TRAVERSED_PLACES, STILL = 3.0, 61, 1e-5
"""How far from zero a traversal goes, as most of a standard normal prior does; its places, a tenth apart; and share of the means
below which a step is the rounding of single precision. Chosen by hand."""
JUMP = 20.0
"""Largest step of the outcomes' means along a unit, over the median one, from which on they jump. Measured: a linear decoder has 1, of
handwritten digits 1.3 to 2.2 (8 units, 400 to 1,800 rows), of curves and tables up to 1.5, of four clusters 5 and of six bit patterns
10; of two bit patterns, between which there is nothing, 150 and more."""
LEAKED, LEAKED_SHARE = 0.01, 0.2
"""Probability of as much under a generator that gives nothing away, below which something is given away; and share of copies among made-up
rows that would do it, from which on it is more than the little that any fitted decoder keeps. Chosen by hand."""
DISTANCES_AT_ONCE, COMPARED_ROWS, NEARLY_EQUAL = 2**22, 10_000, 1e-12
"""Distances between rows that are held at once, and rows trained on, held out and made up that are compared at the most; share of their
lengths by which squared distances are uncertain, rounded as they are."""
ROW_PRIOR_DRAWS, COMPLEX_COLUMNS, GREYS = 64, 64, 255
"""Draws of a row for the prior density of its coordinates; columns of an outcome from which on they have a pattern that can be packed (an
image of eight pixels a side), and the largest byte that a number becomes for it."""
MOST_PATTERNS, RANKED_AT_ONCE, MOST_RANKED = 32, 256, 1000
"""Patterns of missing numbers under each of which the rows held out are scored again, rows that are ranked at once, and rows held out among
which they are ranked at the most: p-values begin at a thousandth then."""
USUAL = 0.95
"""Quantile of scores of known rows that is as far from their median as is usual. Of six ways to have the greater of two scores this one was as
good as the better of them on most sets (benchmarks/uses.py)."""
NO_MATCH, PERMUTATIONS, FEWEST_MATCHED = 0.01, 299, 20
"""p-value below which made-up rows are told from real ones, permutations that it is of (the least p-value is a third of that), and rows of
a kind below which nothing found is no comfort. Chosen by hand."""
TOLD_AXES = 64
"""Axes in which permuted sets of rows are compared: of 784 columns and 5,000 rows 300 permutations take 2 s, and in all columns 10 minutes."""
DENOISING_ROUNDS, DENOISING_APART = 6, 1e-3
"""Rounds in which other draws are tried for noisy rows, whose laws an encoder has not learned; and by how much, over one and its size,
the density of the rest of a row may differ where its entries are others: single precision differs by a hundredth of that."""
UNIT_DRAWS, MOST_WEIGHED = 32, 64
"""Draws of a row for the divergence of each unit, and rows that are weighed at once."""
ASCENT_STEPS, ASCENT_DRAWS, ASCENT_RATE = 300, 8, 0.1
"""Steps of the law of a row up its own bound, draws of a step, and their first rate, in sds of the law where it began."""
MOST_DENSE_UNITS = 16
"""Coordinates of a row up to which its law is dense where none is named, and bent where that one's weights fail: a dense law of the
digits' eight has a bound that is .6 nats greater, in the same time."""
MOST_ASCENTS, ASCENT_WORTH = 2e7, 0.9
"""Draws of all rows up to which each takes steps of its own, a minute or two; and share of rows that can be trusted by their own
weights from which on it is the encoder's answer that is off, not the kind of law."""
GAP_ROWS, GAP_DRAWS = 100, 1000
"""Rows whose own best law is looked for, and draws by which its bound is told."""
FACTOR_BINS, FACTOR_FOLDS, FACTOR_RIDGE, MOST_FACTOR_VALUES = 20, 20, 1e-3, 64
"""Bins of a unit's means (Locatello et al. 2019), folds of rows left out for standard errors, shrinkage of regressions on standardised
units, by share of the rows; and different values of a factor at the most."""
SAME_UNITS, INTERVAL_95 = 0.95, 1.96
"""Correlation of matched units of several starts from which on they are called the same; and standard errors of an interval of 95%."""
SUNK_STEPS, APART_STEPS = 100, 600
"""Steps whose mean divergence of a unit is below that of an active one, after which a first start is cut short; and those that keep laws of rows
apart in another at the least."""
HEARD = 0.05
"""Nats of one unit from which on it is no noise of the rate. Measured while causal decoders of sequences learned: units that were used for
nothing had 0.002 to 0.027, others 0.6 and more."""
INFORMED_ROWS, INFORMED_DRAWS = 256, 4
"""Rows among which it is asked what the laws of rows tell of them, and draws of each."""
CODE_DEAD = 0.05
"""Share of even use below which a code begins anew at what an encoder makes. Chosen by hand: a code that nothing comes to falls below it
within 300 steps at a decay of 0.99, one that a row in twenty of its even share comes to stays."""
ADVERSARIAL_RATE, CRITIC_PACE = 1e-4, 2.0
"""Rate of an encoder that is to deceive a critic, and how much faster that one learns: two time scales (Heusel et al. 2017)."""
CRITIC_WIDTH, PRIOR_BANK = 128, 4096
"""Units of the two layers of a critic, and draws of the prior that it sees again and again. Chosen by hand."""
MOST_POINTS = 16
"""Batches of rows at codes that are laid out at once. Chosen by hand."""
SCORE_DRAWS, TEMPERATURE = 4, 0.5
"""Draws of a row of bits whose scores are compared (Kool et al. 2019), and the temperature of relaxed bits (Maddison et al. 2017: two
thirds, and below for binary ones)."""
MOST_STATES, FLIPS, BIT_ERROR = 4096, 3.0, 0.01
"""States of a row of bits up to which all are looked at, as many as it has draws; of more how many that an encoder is sure
of are about to be the other way in a draw from afar, and the standard error of a probability up to which *caution* is said."""
LARGEST_BIT_SD = 0.5
"""Of a bit, by which its probability is off: sds of those that a row is sure of are nothing."""
PSEUDO_APART = 0.01
"""Sds by which pseudo-inputs of a prior begin apart from rows. Chosen by hand: rows that come twice must part."""
HELD_APART, LAGGING, BOUND_DRAWS = 0.5, 0.1, 64
"""After a collapse: nats of each unit that are free at first (Kingma et al. 2016), the share of its rate at which the model lags
behind the encoder (He et al. 2019), and draws of the bound by which starts are compared."""
EXCESS, EXCESS_SHARE = 1.0, 0.01
"""Nats, and share of a row's bound, by which the bound of rows trained on may be greater than that of rows held out (as gaps of an
encoder: Cremer, Li & Duvenaud 2018)."""
DEEP_LOST, DEEP_RESTARTS, RATE_CUT = 0.5, 3, 4.0
"""Share of steps without a finite gradient from which on training goes back to its best arrays, how often, and to what part of
the rate."""

# -- learned arrays --------------------------------------------------------------------------------------
LEARNING_DRAWS, LEARNING_ROUNDS, LEARNING_STEPS = 2000, 60, 40
"""Draws of a guide by which arrays are learned, guides that are fitted at the most, and steps at the draws of one."""
LEARNED_REST = 0.125
"""Nats that learned arrays may lack, by other draws than those that they were learned by, and be at rest: half a standard error of
one of them."""
LEARNED_KEPT, LEARNED_COST, LEARNED_GAIN, INFORMED = 0.3, 10.0, 0.003, 0.1
"""Share of the effective draws that is to be left where arrays move, nats that it costs to lose e times more of them, nats of a round
that are no gain any more, and effective draws of all from which on the weights of a guide are used."""
LEARNED_STEP, LEARNED_REACH, MOST_INFORMED = 1e-3, 0.5, 60
"""Step of a difference of gradients in a learned number, at the draws of one guide and, in standard errors, at guides that follow;
and numbers up to which their errors are asked for."""

# -- variational dropout ---------------------------------------------------------------------------------

DROPOUT_PARTICLES = 4
"""Draws of all weights in a step of variational dropout. By time: noise of one draw is shared by all rows."""
DROPOUT_RATE, DROPOUT_STEPS, DROPOUT_BLOCK = 0.05, 4000, 100
"""Adam's rate in units of where it starts, which falls to zero in so many steps, some at a time: far enough for any weight to be
told or dropped. Chosen by hand; ``benchmarks/bayesian_nets.py``."""
RATE_NEAR = 1e-6
"""Share of a weight's variance that is added to its square where the divergence's slope is divided by it: at zero it has none."""

# -- classes ---------------------------------------------------------------------------------------------

SHARED_DRAWS = 200
"""Draws of a posterior by which it is told what the outcomes of rows share. By memory: a number for each row and draw."""

# -- streams ---------------------------------------------------------------------------------------------
EXACT_LIKELIHOOD, ROUNDED = 1e-9, 1e-13
"""Nats by which a carried log likelihood may miss another that it is said to be exactly, and the same as a share of the
largest one: rounding of double precision."""
MOST_CARRIED = 60
"""Coordinates of shared parameters that are carried on: a quadratic function of them has 1,891 terms."""
FEWEST_FOR_EACH = 2
"""Draws for each term of a carried log likelihood. By hand: what is fitted is without noise."""
LEAST_EIGENVALUE = 1e-12
"""Share of the largest variance from which on a direction counts as one."""
AUDIT_EVERY = 10
"""Updates after which rows that are kept are fitted together (operations.md, section 8)."""
MORE_ROWS = 1.25
"""Times as many rows as were last fitted together, from which on they are again where a mean may have moved by `MEAN`. By hand: the
number of fits grows with the logarithm of that of rows."""
MOST_PLACES = 16
"""Places of posteriors that are kept, the first and the last half: each is compared with where a later posterior is."""
FAR_AWAY = 1e-3
"""Probability below which a posterior is not where likelihoods were carried: what was left over says nothing of how far off they are
there. Were all well, as many of a thousand updates would be taken for such."""
RESERVOIR = 10_000
"""Rows that a stream keeps for that."""
SEEN_BEFORE = 0.0
"""Share of the rows of a batch whose contents may have come before. By hand: none, where no two rows of a batch are alike."""
ROWS_ALONE = 32
"""Rows that are predicted at a time where each is as if it came alone: many enough that calls cost little, and a multiple of what
processors compute together."""

# -- private fits ----------------------------------------------------------------------------------------
CLIPPED_SHORT = 1e-3
"""Share by which gradients are clipped to less than they are accounted for: sums of a few thousand in single precision are rounded by
less."""
COUNT_SHARE = 0.1
"""Share of the norm of what a unit gives that tells whether its gradient was clipped: gradients get 0.5% more noise for it."""
MOST_CLIPPED, CLIPPED_CAUTION = 0.03, 0.01
"""Share of units whose gradients are clipped from which on all quantities are *untrusted*, and from which on a finding says so. By hand: of
8,000 rows of a logistic regression a tenth moved means by up to five sds, a hundredth by less than the noise."""
TRUNCATED_SHARE = 1e-3
"""Share of delta for batches that are larger than the arrays that hold them."""
NOISE_TOLERANCE, NOISE_PACE = 1e-3, 0.25
"""Error of a noise multiplier on the safe side, as a share of it; and steps of its logarithm in which it is looked for."""
FINEST_LOSS = 1e-4
"""Interval to whose multiples privacy losses are rounded, upwards: that of dp-accounting. By time ten times that where a budget is ten."""
PRIVATE_RATE = 0.2
"""Adam's rate in units of a guide's first sds. Chosen by hand, on logistic regressions of 8,000 rows: at 0.1 means are still on their way
after 500 steps, at 1 some never rest."""
LEAST_PRIVATE, PRIVATE_SHARE = 256, 0.1
"""Rows of a batch on average at the least, and as a share of all, where nobody says. By hand: noise in a mean falls with the size of
batches, and their cost rises with it."""
PRIVATE_SD, PRIVATE_PARTICLES, PRIVATE_BLOCKS, PRIVATE_REST, PRIVATE_DRAWS = 0.1, 2, 50, 0.4, 4000
"""Sds where a private ascent begins, draws of a step, blocks of steps of one rate each, the share of steps at the end that are
averaged, at a rate that is small, and draws that its summary is of. Chosen by hand; ``benchmarks/private.py``."""
PRIVATE_FLOOR = 0.3
"""Share of the rate that is left while places are averaged. Measured on 10,000 credit cards and 8,000 made-up rows, at epsilon 1 and 8: with
0.02 and 0.1 correlated coordinates have more sds to go, with 1 noise moves means more than averages take away."""
FEWEST_PUBLIC, NEARBY = 100, 0.1
"""Public rows from which on they tell how a posterior of others is curved, to a seventh; and sds over which its slope is looked at."""
PRIVATE_DEEP_RATE, MADE_UP_ROWS = 0.002, 256
"""Adam's rate for networks under noise, and rows that a fitted model makes up where none can be shown. Chosen by hand."""

# -- sites -----------------------------------------------------------------------------------------------

PRIOR_PROBES = 6
"""Places at which two parties compare the priors that they have declared."""
LARGEST_MESSAGE = 64 << 20
"""Bytes of a message between a server and a site: 60 shared coordinates take 30 kB."""
MOST_STRIKES = 2
"""Replies in a row that cannot be used after which a site is out: one may be lost on its way."""
MOVED_LAST = 0.02
"""Sds by which a sweep over all sites may still move a mean, or a log sd, where it is the last: an eighth of what *trusted* allows."""
MOST_SWEEPS = 30
"""Sweeps after which a federation ends. By hand: logistic regressions take three or four."""
MOST_LATE = 3
"""Sweeps that a site may be at work on one task before it is out."""
NEGATIVE = 1e-6
"""Share of its largest element by which a precision may be negative or not symmetric: rounding in single precision."""
LEAST_TOLD = 1e-6
"""Share of the precision of a direction from which on a site tells something of it."""
LEAST_COMPARED = 0.01
"""Share of the precision of a coordinate from which on a site is a yardstick for what a row tells of it: what is left over of the
likelihood of one without rows of some group is told too."""
MOST_INFORMATION = 1e4
"""Times as much as a row at the median of the other sites that a row may tell: a hundred times their spread of a predictor."""
MOST_EFFECT = 1e8
"""Squared distance from the middle of all sites, in units of what one row tells, that no data have: ten thousand sds."""
CONFLICT = 1e-3
"""Probability of calling some site one that speaks against the others where none does."""
