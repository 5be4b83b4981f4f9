"""Every number that the language and its targets decide with: what it means, and where it comes from.

"Chosen by hand" says what a number trades.
"""

from __future__ import annotations

# -- what a message shows --------------------------------------------------------------------------------

ROWS_SHOWN = 5
"""Rows that a message names. By what a reader can take in."""
GAPS_SHOWN = 8
"""The same of rows with missing or non-finite values, which come in runs."""
LABELS_SHOWN = 3
"""Labels that a message quotes."""
QUOTED, QUOTED_LONG = 60, 80
"""Characters of a value that a message quotes, and of one that is all it has to say. By the width of a terminal."""
MESSAGE_QUOTED = 200
"""Characters of another library's message that are quoted: two lines of a terminal and a little."""
TERMINAL_ROWS = 12
"""Quantities that the command line shows: what a terminal has room for without scrolling."""
MOSTLY_LABELS = 0.5
"""Share of labels that are no numbers, from which on a column is taken for groups that were computed with, and below which
for numbers with a slip. Chosen by hand."""

# -- groups ----------------------------------------------------------------------------------------------

MANY_GROUPS, SPARSE = 1000, 10
"""Codes with a zero among them that leave so many groups, and all but one in so many, without a row may be identifiers.
Chosen by hand: small tables with gaps pass, and customer numbers are asked about."""

# -- a picture of a model --------------------------------------------------------------------------------

NODE_WIDTH, NODE_HEIGHT, NODE_GAP = 118, 50, 36
"""Size of a node, and the space between two, in units of the picture, which are pixels at its full size. Chosen by hand:
names of some fifteen letters fit."""
EDGE, PLATE_EDGE = 10, 6
"""Space around the picture, and between a node and the outline of its plate. Chosen by hand."""
SQUARE, SQUARE_ABOVE = 18, 22
"""Side of a factor's square, and how far above the middle of its place it begins. Chosen by hand."""
LINE_HEIGHT = 15
"""From a node's name to what stands below it. By the size of the letters."""

# -- memory and speed of a target ------------------------------------------------------------------------

BATCH = 32
"""Rows of one compiled call of a density, at the most: of one size, so that one program serves any number. Chosen by hand:
short of waste by padding where few are asked for, and long enough for vector units."""
READ_AT_ONCE = 2**19
"""Numbers that the gradients of one call read, from which on it has fewer rows: what it then computes on the way is some 30 MB
in double precision, and beyond that comes fresh from the system with every call (glibc's largest threshold), at five times
the time of the gradients themselves."""
LARGEST_WORK = 2**17
"""Numbers that one gradient reads, up to which a file has a check of the density. Chosen by hand."""
CONSTRAINED = 2**23
"""Numbers of one call that computes values of sites: 64 MB in double precision, by memory."""
LARGEST_CONSTRAINED = 1024
"""Rows of such a call at most. Chosen by hand: a call's own cost is then small beside its work."""
LARGEST_BLOCK = 2**22
"""Numbers of one call that draws from the prior or predicts: 32 MB in double precision, by memory."""
LARGEST_DRAWN = 1000
"""Draws of such a call at most. Chosen by hand: a call's own cost is then small beside its work."""
LARGEST_COMPILED = 200
"""The same where each number of draws is compiled: as many as the least that a check asks for, so that one compiled function serves
all. Compiling another takes one to three seconds, and a call a few thousandths of one."""
READ_BLOCK = 2**22
"""Values of a memory map that are read at once: 32 MB in double precision, by memory."""
SPOOL_BLOCK = 2**25
"""Bytes of rows that are read at once on their way to a memory map: 32 MB, by memory."""
PROBED = 256
"""Rows that are read to see how large the others are. Chosen by hand."""
DISK_RESERVE, DISK_SHARE = 2**30, 0.05
"""Bytes of a disk, or share of it where that is less, that spooled rows leave free. Chosen by hand: other programs go on."""
ENDLESS = 2**40
"""Batches from which on a source is one that never ends. Chosen by hand: of a kilobyte each they fill no disk that there is."""
BYTE = 255
"""Largest grey value of eight bits: what is above is no image, and gets no advice about scaling."""
NEARLY_EVEN = 0.05
"""Half of the log odds of a continuous Bernoulli law up to which its constant is taken from three terms of its series: the fourth
is below 1e-15 there, and beyond it the closed form loses no digit of the gradient that single precision has."""
LARGEST_TABLE = 2**27
"""Numbers of one joint table of discrete sites at most: 1 GB in double precision, by memory."""
PRIOR_DRAWS = 1000
"""Prior draws where nobody says how many: the standard error of a 5% quantile's level is then 0.7%."""
LARGEST_SUM = 2**16
"""Values of one law above which no sum over them is taken: half a MB for each row in double precision. Chosen by
hand."""
LARGEST_SLOPE = 2**20
"""Numbers that one gradient reads in PyTorch, above which a model is told from another by its value alone: 8 MB in double
precision, by the time that tracing a gradient takes."""
CACHED = 2**15
"""Numbers of one batch in PyTorch, which then fit into a core's nearest caches with all that is made of them: 256 kB in
double precision, by the size of a cache."""
LARGEST_FOLDED = 2**16
"""Numbers of a constant that is kept with a PyTorch function; larger ones are made again at each call: half a MB in double
precision, by memory."""
KEPT_DENSITIES = 16
"""Compiled densities of a model that are kept: as many variants of it can be fitted in turn. By memory."""

# -- flows -----------------------------------------------------------------------------------------------

STRETCH = 1e3
"""Factor by which one layer scales a coordinate at most, or one over it: a step too far then overflows nowhere. Chosen by
hand."""
SPLINE_BOUND = 8.0
"""Where a spline ends, beyond which it leaves coordinates as they are: some standard deviations more than draws reach.
Chosen by hand."""
SPLINE_SLOPE = 0.1
"""Least slope of a spline at a knot, and one over the largest. Chosen by hand between supple splines and
Jacobians that single draws decide."""
SPLINE_WIDTHS = 0.4
"""How far widths of a spline's bins are drawn to even ones, 1 being their average. Chosen by hand."""
CLIPPED = 1.0
"""Norm to which a step's gradient is cut: one draw far out does not throw an ascent. A usual choice."""
AVERAGED = 0.99
"""What the average over weights keeps at each step: the last hundred count. Chosen by hand."""

# -- numerical stand-ins ---------------------------------------------------------------------------------

IMPOSSIBLE = -1e30
"""Log probability in place of minus infinity, sums of which have no gradient: exp of it is zero in every precision."""
FAR = 1e3
"""A factor from which on a search around 0, on the scale of one, does not begin where it should. Chosen by hand:
nearer than that, starts on the scale of one reach the posterior."""
JITTER = 1e-8
"""Added to the diagonal of a covariance of a Gaussian process, relative to its mean: above the rounding of double
precision by the condition numbers of smooth kernels. Chosen by hand."""
BOUNDARY = 1.5
"""Half width of the domain of a Hilbert-space basis, relative to that of the points: fit for lengthscales of up to about
half of the points' half range (Riutort-Mayol et al. 2023)."""
MASK_POINTS = 2
"""Points at which a derivative has to vanish exactly for an element to be no quantity of the model: one could be a zero by
chance."""
MASK_SCALE = 0.5
"""Standard deviation of these points on the unconstrained scale: well inside every support. Chosen by hand."""
MOVES = 8
"""Indexing and reshaping between a latent quantity and a parameter that are looked through. Chosen by hand: models nest
two or three."""

# -- values, and where numbers lose their digits ---------------------------------------------------------

TOLERANCE = 1e-6
"""Distance at which a sum is one, a row of length one and a matrix symmetric, relative to its scale: some roundings of
single precision."""
TRIED = (-971.3, -41.7, -7.3, -1.37, -0.61, -0.23, 0.17, 0.43, 0.77, 1.41, 2.9, 13.1, 971.3)
"""Places at which the support of a latent quantity is compared with what a parameter allows. Chosen by hand: none at a
usual bound."""
TRIED_BETWEEN = (0.01, 0.17, 0.43, 0.77, 0.99)
"""The same between two bounds, as shares of the way. Chosen by hand."""
LARGEST_WHOLE = 2**31 - 1
"""Largest value of a law of whole numbers that has no end: that of 32 bits, which backends give them in single precision."""
SHORT = 1e-3
"""Arguments below which five terms of a power series stand for ``expm1(u) / u`` and ``log1p(u) / u``: the sixth is 1e-15
of the sum at most."""
UNSQUARED = 1e8
"""Length above which one more than its square is its square in double precision, whose rounding is 1e-16; there the
logarithm is taken first, and nothing overflows."""
DEEP = {"float64": -30.0, "float32": -8.0}
"""Standard deviations below which the mass of a normal tail, 5e-198 and 6e-16 there, is no longer inverted, by precision.
Chosen by hand: further out it loses its digits."""

# -- differential equations -------------------------------------------------------------------------------

RTOL, ATOL = 1e-6, 1e-8
"""What a step may be wrong by, relative to the solution and beside it: errors of the log density stay far below one, and
gradients smooth. Chosen by hand."""
MAX_STEPS = 2000
"""Steps of one solution at most: some thirty times those of an easy one, so that a draw from far out costs no more. Chosen
by hand."""
STEPS_PER_TIME = 100
"""The same of NumPyro models that solve with JAX's own word, for each of their times where these are many. Chosen by hand."""
CAUTION, SHRUNK, GROWN = 0.9, 0.2, 10.0
"""Share of the size that would just do which is tried next, and bounds on its change. Hairer, Nørsett and Wanner (1993),
section II.4; bounds as in SciPy."""
STEP_GUESSED, FIRST_STEP, SLIGHT = 0.01, 1e-6, 1e-5
"""Share of its own size by which a solution moves in a first guess of a step, the guess where nothing moves, and below what
size nothing does. Hairer, Nørsett and Wanner (1993), section II.4."""

# -- networks --------------------------------------------------------------------------------------------

LOG_SDS = (-12.0, 6.0)
"""Log sds that an encoder can lead to: one overflow ends a training."""
LEAST_PROBABILITY = 1e-12
"""Of a latent bit: log odds stay finite."""
CODE_STATE = 128
"""Numbers of the state of the network that is the prior of a sequence of codes. Chosen by hand."""
FLOW_COUPLINGS, FLOW_UNITS, FLOW_REACH = 6, 32, 2.0
"""Couplings of a flow as a prior, units of a layer of their networks, and log scales that one can lead to (Dinh et al. 2017)."""

# -- random numbers --------------------------------------------------------------------------------------

PRIOR_STREAM = 31
"""Stream of the random numbers of prior draws: another one than that of draws from a posterior with the same seed. Any
number that no other stream has."""

# -- fingerprints ----------------------------------------------------------------------------------------

FINGERPRINT_DIGITS = 16
"""Hexadecimal digits of a fingerprint of data or code: 64 bits, of which two among millions are hardly alike by chance."""

# -- files and the cache of compiled programs ------------------------------------------------------------

ATTEMPTS = 5
"""Times that a draft is made anew: another process may take one that it was too fast to find locked. Chosen by hand."""
STALE = 86400.0
"""Seconds after which a draft is nobody's, where the file system has no locks: a day, longer than any write."""
LOCK_SECONDS = 30.0
"""Seconds that a writer waits for another's lock, which is held for as long as some files are moved. Chosen by hand."""
LOCK_PAUSE = 0.005
"""Seconds between two looks at a lock that another holds. Chosen by hand."""
DRAFT_LETTERS = 40
"""Characters of a name in the name of its draft: names of 255 bytes are the longest that file systems take."""
MARK_DIGITS = 8
"""Hexadecimal digits that tell drafts of long names with the same beginning apart."""
CACHE_GIB = 2.0
"""Largest size of the cache in GiB. Chosen by hand: some hundred programs of a few MB."""
FILLED = 0.9
"""Share of the largest size that is left after the longest unused entries have gone: not every write makes room."""
LOOKS = 64
"""Times that the cache's folder is looked at while it fills once. By time: a look lists every entry."""
LOOKED_AT, ALIKE = 64, 1e-4
"""Calls in which elements of an outcome are changed, one of each row, to see which others its network shows them to; and by how much of
one and its size a mean may then be another, by rounding of single precision."""
AFRESH = 1 << 30
"""Where the keys of runs that draw afresh begin: beyond those of any model's sites."""
EXAMPLE_ROWS = (61, 67, 71, 73, 79, 83, 89, 97)
"""Rows of the example that a function is recorded with before it is written to a file: primes, the first of which no size is a multiple."""
FEW_ROWS = 2
"""Rows of the example that such a file keeps: the fewest that PyTorch takes for any number."""
