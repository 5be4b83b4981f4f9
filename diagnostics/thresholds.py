"""Every number that the checks of the model and their report decide with: what it means, and where it comes from.

"Chosen by hand" says what a number trades; where a benchmark is named, that is where its effect is measured.
"""

from __future__ import annotations

# -- when a check speaks ---------------------------------------------------------------------------------

LEVEL = 0.02
"""Probability with which one check of one outcome speaks on a right model. Chosen by hand between false alarms and power;
``benchmarks/checks.py`` measures 1.5%."""
FAMILY = 0.01
"""Probability with which any check says *misfit* on a right model (Westfall & Young 1993, all tests judged together).
Chosen by hand; ``benchmarks/checks.py`` measures 0.9%."""
CENTRAL = 0.025, 0.975
"""Quantiles of a replicated statistic whose distance from its median is the unit of deviations. Chosen by hand: far enough
out to feel the tails, and known from `LEAST_DRAWS` draws."""
TAIL = 0.1
"""Share of the draws whose generalised Pareto law says how the tail of a statistic goes on (the law of Knijnenburg et al.
2009, the share chosen by hand)."""
LEAST_TAIL = 20
"""Draws that make a tail: fewer leave the two moments of its law too rough. Chosen by hand."""
TAIL_SHAPES = -0.5, 0.1
"""Least and largest shape of a tail: one with an end, and a slightly heavy one. Chosen by hand: probability-weighted moments
of few draws are rough (Hosking & Wallis 1987), and a heavier tail calls surprises ordinary."""

# -- outcomes, and the draws that the checks use ---------------------------------------------------------

LEAST_ROWS = 5
"""Rows below which an outcome is not checked: no statistic of fewer has power. Chosen by hand."""
MOST_ROWS = 20_000
"""Rows of which there is power enough: of more, so many are drawn. By time and memory, see ``benchmarks/README.md``."""
LEAST_DRAWS, MOST_DRAWS = 300, 3000
"""Replicates that are used at least, and at most; every check is valid at any number of draws, and `FAMILY` needs a few
hundred. By time."""
MOST_VALUES = 2**22
"""Numbers that the replicates of an outcome may be before their draws become fewer: 32 MB, by memory."""
MOST_HELD = 2**27
"""Numbers that all replicates may be before only the elements that are looked at are kept of each: 1 GiB, by memory."""
MOST_COLUMNS = 20
"""Columns of a matrix of predictors that residuals are looked at along. By time."""
LEAST_IN_GROUP = 2
"""Rows that the median group has at least: groups of one cannot differ by more than their noise."""
MOST_GROUPS = 0.5
"""Groups as a share of the rows, above which a column names rows and not groups. Chosen by hand."""
SAYS_THE_END = 0.9
"""Correlation with the indicator of censoring from which on a column of two values is that indicator. Chosen by hand."""
TIE_NOISE = 1e-9
"""Noise that orders equal continuous values at random, relative to the outcome's spread: below any spread of the data."""

# -- how far rows have pulled their own predictions (leverage) -------------------------------------------

LEVERAGE_DRAWS = 200
"""Draws that the leverage is estimated from, each predicted from once more. By time."""
MOST_SHARED = 0.9
"""Largest share of an outcome's variance that its expectation is taken to have: the leverage stays finite."""
LEAST_LEFT = 0.1
"""Least share of the noise's variance that residuals are taken to keep: observations are moved by no more."""
NEGLIGIBLE_LEVERAGE = 0.25
"""Leverage times the root of the rows, in standard errors of a correlation, below which it is ignored. Chosen by hand: an
exact level against the cost of a correction; ``benchmarks/checks.py``."""
SLIGHT_LEVERAGE = 0.5
"""The same for outcomes that cannot be rescaled: a third of a standard error of a PIT-ECDF. Chosen by hand; above it their
PIT says nothing; ``benchmarks/checks.py``."""
PULLED = 0.5
"""Lean of residuals towards predictions, in standard errors of a trend, from which on predictions are no axis for them.
Chosen by hand between false alarms and power; ``benchmarks/checks.py``."""
SATURATED = 0.25
"""Leverage from which on only what overfitting cannot explain counts. Chosen by hand: a model that follows its rows so
closely is no longer told by how near they lie."""

# -- what a fit to a replicate would have changed --------------------------------------------------------

DRAWS_PER_DIRECTION = 20
"""Replicates that it takes to regress a statistic on one direction. A rule of thumb of linear regression."""
DRAWS_PER_COORDINATE = 4
"""Draws for each coordinate, below which their covariance is too rough for a Newton step. Chosen by hand."""
LEAST_KEPT = 0.2
"""Share of a statistic's variance below which a linear step is too rough a guide to what a fit leaves of it. Chosen by
hand; ``benchmarks/checks.py``."""
SHARE_NOISE = 0.1
"""Rows that are added to the standard deviation of a share of the rows, where all replicates agree. Chosen by hand: no
single row makes an excursion."""
RIDGE = 1e-12
"""Added to a covariance in units of the draws so that it has a Cholesky factor; near the rounding error of float64."""
SCORE_BLOCK = 2**20
"""Numbers of one call of the score: 8 MB, by cache and memory."""

# -- PIT-ECDF --------------------------------------------------------------------------------------------

ALL_RANKS = 200
"""Rows up to which the band looks at every rank; of more at about as many, dense at both ends. By time."""
END_RANKS, EVEN_RANKS = 50, 100
"""Ranks at each end, spaced geometrically, and evenly spaced ones. By time: the band's level is simulated with the same."""
BAND_SIMULATIONS = 4000
"""Sets of uniform values that a band's level is simulated with: the standard error of `LEVEL` is then a tenth of it."""
KEPT_BANDS = 32
"""Numbers of rows whose bands are kept. By memory: each is one number."""
END_ROWS, LEAST_PROBABILITY = 3, 1e-4
"""The ECDF is looked at down to where so many rows lie below, and no further than that probability. Chosen by hand."""
END_PROBABILITY, END_POINTS, EVEN_POINTS = 0.1, 12, 25
"""Where the ends of the ECDF begin, and points within each end and between them. By time."""

# -- coverage, calibration, residuals --------------------------------------------------------------------

INTERVALS = 0.5, 0.9
"""Central intervals whose coverage is checked: the body, and what reports show."""
MOST_CATEGORIES = 12
"""Categories each of which is an event whose calibration is checked. By time, and by what a reader can take in."""
LEAST_VARIANCE = 1e-6
"""Least variance of an event of predicted probability near 0 or 1: a single such row does not decide."""
MOST_BINS, ROWS_PER_BIN = 10, 10
"""Bins of equal count along a column, and rows in each: ten bins are those of Hosmer & Lemeshow (1980)."""
SORTING = 4
"""Every so many draws say where rows are sorted to, and the others are compared: a quarter loses little power."""
DEGREE = 4
"""Largest degree of the Hermite polynomials along a column (a smooth test of Neyman's; Rayner & Best 1989 advise
about as many)."""
LEAST_DISTINCT = 5
"""Distinct values above which a column can be a curve's axis: fewer are groups."""
LAGS = 5
"""Rows back that residuals are correlated with together, beside the row before. Chosen by hand."""
LEAST_IN_TIME = 20
"""Rows from which on correlations from row to row are looked at. Chosen by hand, by power."""
LEAST_ORDERED = 0.5
"""Share of distinct values from which on a column that is named for time orders the rows. Chosen by hand."""
DIFFERENT = 2.0
"""How many times the noise of their draws predictions of rows have to vary to be an axis. Chosen by hand."""
DIFFERENT_ROWS = 2000
"""Rows that this noise is averaged over. By time."""

# -- predicted classes of rows that were not fitted ------------------------------------------------------

ECE_BINS = 15
"""Bins of the expected calibration error (Guo et al. 2017)."""
ECE_LEVEL = 0.05
"""How often the error of right probabilities passes the point that it is compared with. A convention."""
ECE_EXCESS = 0.05
"""Error beyond that point from which on it is a misfit: what is commonly asked of the error itself, which has a bias of 0.06
with 200 rows."""
ECE_SIMULATIONS, ECE_RESAMPLES = 2000, 500
"""Outcomes of right probabilities that the point is known by, and rows drawn again for a standard error; of many rows as few of
the first. By time."""
ECE_VALUES = 2**25
"""Numbers that those outcomes may be: 256 MB, by memory."""
ECE_DRAWS = 1000
"""Draws whose probabilities are averaged: a thousandth of a probability's spread over the posterior, squared, is left of noise."""
SEEN_BEFORE, TELLING_ROWS = 0.05, 0.5
"""Share of rows that may have been seen before, by accident; and share of rows unlike all others among them without which that
is not told. Chosen by hand."""
EXTRAPOLATED, SLIGHTLY_MORE = 0.05, 1.0 + 1e-9
"""Share of rows that a contrast may ask far outside of the data; and sds beyond the data that are not far, which the usual change is.
Chosen by hand."""
TELLING_COUNT = 20
"""Rows below which nothing is said to come true: of so few a half of the right share is common. Chosen by hand."""
MAP_ROWS = {"temperature": 50, "isotonic": 1000, "levels": 500}
"""Rows from which on a map mends more than it spoils: of a temperature known to a fifth; of steps (Niculescu-Mizil & Caruana 2005); of
levels known to 0.06 at most (Dvoretzky, Kiefer & Wolfowitz 1956)."""
TEMPERATURES = 0.05, 20.0
"""Ends between which a temperature is looked for: beyond, probabilities are all alike or all one. Chosen by hand."""
CURVED = 1e-3
"""Step in the log of a temperature by which its curvature is told: rounding is a millionth of it. Chosen by hand."""

PLACE_DRAWS, PLACE_BLOCK = 500, 1000
"""Draws that outcomes are ranked among, and sets of rows that the point of a right model is known by; rows ranked at a time. By time
and memory."""
PLACE_POINTS = 200
"""Points of a picture of places. By what a reader can see."""
COVERAGES = 0.5, 0.8, 0.9, 0.95
"""Levels of the intervals whose shares of rows are shown; that of 90%, which reports show, is spoken of."""
ROLLING_ROWS = 500
"""Rows of a window of predictions that are looked at in their order: an error of 0.05 is seen in so many. Chosen by hand."""

# -- survival --------------------------------------------------------------------------------------------

CURVE_TIMES = 40
"""Times at which Kaplan-Meier curves are compared. By time."""
LEAST_AT_RISK = 5
"""Rows at risk below which a curve is too rough to compare. Chosen by hand; textbooks stop at five to ten."""
WIDEST_MARGIN = 0.25
"""Largest share of the ends that is left out on either side where there are few rows: half of them stay."""
ENDING_DRAWS = 200
"""Replicates whose ends say at which times curves are compared. By time."""
CLOSE = 1e-6
"""Relative distance of two values that are one: some roundings of single precision."""

# -- leave-one-out ---------------------------------------------------------------------------------------

LOO_ROWS = 5_000
"""Rows up to which each is left out. By time and memory: a density for every draw and row."""
HELD_COMPARED = 1_000
"""Rows that training held out by which models are compared, at the most: each takes thousands of draws of its own."""
INFLUENTIAL = 0.7
"""k̂ of a row above which importance sampling cannot leave it out (Vehtari et al. 2024, JMLR 25)."""
NAMED = 5
"""Influential rows that are named. By what a reader can take in."""
MOST_INFLUENTIAL = 0.05
"""Share of influential rows from which on LOO-PIT does not hold. Chosen by hand."""
BEYOND = 1e-8
"""Local level below which no noise of the weights explains LOO-PIT: a misfit by itself. Chosen by hand: `LEVEL` knows
nothing of the weights' own error."""
SMOOTHED_BLOCK = 2**21
"""Weights that are smoothed at a time: 16 MB, by cache and memory."""
TAIL_PART, TAIL_ROOTS, LEAST_SMOOTHED = 5, 3, 5
"""Largest weights that are smoothed: one in so many, at most so many roots of their number, and none where they are fewer
than the last (Vehtari et al. 2024)."""
PARETO_GRID, PARETO_SCALE = 30, 3
"""Least points, and spread in quartiles, of the grid of a Pareto law's parameter (Zhang & Stephens 2009)."""
PARETO_QUANTILE = 0.25
"""Quantile of the excesses that the grid is scaled by (Zhang & Stephens 2009)."""
NEGLIGIBLE_WEIGHT = 10
"""Roundings below which a point of that grid has no weight (as in arviz-stats)."""
PRIOR_DRAWS, PRIOR_SHAPE = 10, 0.5
"""The shape of a Pareto law is drawn to this one with the weight of so many draws (Vehtari et al. 2024, appendix)."""
NEGLIGIBLE_DIFFERENCE = 4.0
"""Difference in expected log density that is too small to choose a model by (Sivula, Magnusson, Matamoros & Vehtari
2020)."""
CLEAR_DIFFERENCE = 2.0
"""Standard errors that a difference has to be of for one model to predict better: about 95%."""

# -- priors ----------------------------------------------------------------------------------------------

SENSITIVE = 0.05
"""Power-scaling measure above which a quantity is sensitive (Kallioinen et al. 2024)."""
WIDE = 100.0
"""Times the data's range beyond which prior predictions are implausible. Chosen by hand: priors in wrong units are wider."""
RARE = 0.001
"""Share of prior predictions as extreme as the data's outer tenths, below which the priors hardly allow them. Chosen by
hand: unlikely by chance in 200 data sets."""
OUTER = 0.1
"""Share of the data at either end that counts as extreme."""
SHARED_QUANTITIES = 50
"""Elements of a site above which its prior is not looked at: it is a prior of groups. By time."""
SENSITIVITY_ROWS = 5_000
"""Rows above which sensitivity is not looked at. By time and memory: a density for every draw and row."""
PRIOR_PREDICTIONS, FEWEST_PREDICTIONS = 200, 50
"""Prior data sets that are drawn, and least number of them of long data. By time."""
PREDICTION_VALUES = 2**21
"""Numbers that prior predictions may be before data sets become fewer: 16 MB, by memory."""
SENSITIVE_NAMED = 4
"""Sensitive quantities that are named. By what a reader can take in."""

# -- blame -----------------------------------------------------------------------------------------------

AFFORDABLE = 60.0
"""Seconds that chains are projected to take at most where they are run for a report. Chosen by hand: a reader waits."""
OVERRUN = 2.0
"""Times as many seconds after which they are stopped: projections are rough."""

# -- random numbers --------------------------------------------------------------------------------------

CHECK_STREAM = 43
"""Stream of the random numbers of the checks: another one than that of predictions with the same seed. Any number that no
other stream has."""

# -- pictures --------------------------------------------------------------------------------------------

SVG_DPI = 72
"""Points of an inch of SVG, as matplotlib writes it."""
PICTURE_WIDTH, PICTURE_HEIGHT = 4.2, 2.9
"""Inches of one picture. Chosen by hand: two stand beside each other on a page."""
CURVE_POINTS = 200
"""Points of a smooth curve, or of a staircase. By the pixels of a picture."""
DENSITIES_DRAWN = 40
"""Replicates that are drawn as densities. By what a reader can take in."""
DENSITY_ROWS, DATA_ROWS = 5_000, 20_000
"""Rows that a density is made from, of each replicate and of the data. By time."""
BAND_REPLICATES = 200
"""Replicates that a band is made from: ten lie beyond each end of 90%. By time."""
HISTOGRAM_STEP = 20
"""Every so many replicates are those of a histogram: 150 of `MOST_DRAWS`. By time."""
LARGEST_COUNT = 200
"""Largest count that is drawn. By the pixels of a picture."""
EXTENT = 0.001, 0.999
"""Quantiles of the predictions that a picture reaches to: a heavy tail leaves the rest to be seen. Chosen by hand."""
OUTER_INTERVAL, INNER_INTERVAL = (0.05, 0.95), (0.25, 0.75)
"""Ends of the intervals that are drawn: those of 90%, which reports show, and of a half."""
CURVES_DRAWN = 100
"""Replicates whose survival curves are drawn. By what a reader can take in."""
IMAGE_PIXELS = 64
"""Columns that are shown as an image where they are a square: eight pixels a side, below which no digit can be read."""
MAPPED_ROWS = 2000
"""Rows on a map of the latent space. By the pixels of a picture."""
NEAREST_ROWS = 20_000
"""Fitted rows among which the nearest to a simulated one is looked for. By time."""
STRIPS = 8
"""Units along which outcomes are shown. By what a reader can take in."""
SHOWN_ROWS = 8
"""Encoded rows that are shown, and as many simulated ones. By what a reader can take in."""
LEAK_ROWS = 2000
"""Simulated rows that a report compares with those trained on and held out, at the most. By time."""
ROWS_AS_LINES = 4
"""Encoded rows, or units, that a report draws as lines: a picture for each. By what a reader can take in."""
LONGEST_ROW = 4096
"""Columns of a row beyond which a report shows none: the JSON has all that is shown."""
EARLY_SHARE = 0.1
"""Share of the bounds of a training that may lie below the picture: the first ones are far below the others."""

# -- length of a report ----------------------------------------------------------------------------------

HEADLINES = 8
"""Quantities on the first screen."""
TABLE_ROWS = 200
"""Rows of the table of quantities in HTML. By the size of the file; the JSON has all."""
SUMMARY_LINES = 20
"""Rows of the table in Markdown: a comment on a pull request."""
SHARED_ROWS = 40
"""Rows of the table of quantities of several models."""
COMPARED_PICTURES = 2
"""Pictures of each model beside those of the others."""
OUTER_ENDS = 0.02, 0.04
"""Values within the first share of the range at an end, more than the second share of all, are crowded there: a smooth
density would run over the end. Chosen by hand."""

# -- why, and what if ------------------------------------------------------------------------------------

WHY_DRAWS = 100
"""Draws at which curvatures are averaged: along a posterior near normal they hardly differ. By time."""
WHY_STEP = 0.5
"""Step of a second difference, in sds of the quantity: what matters is the curvature over the interval, not at a point."""
WHY_VALUES = 2**24
"""Log densities of rows that are held at once: 128 MB, by memory."""
FAR_FROM_NORMAL = 0.67, 1.5
"""Sums of shares between which a posterior counts as near normal. Chosen by hand."""
LEANS = 0.5
"""Share of the prior from which on a quantity leans on it: as much as all rows together."""
LONE_ROW = 0.2
"""Share of one row, of more than five, that is told. Chosen by hand."""
EFFECT_DRAWS = 400
"""Draws of the posterior that contrasts are told at: ends of 90% intervals to a tenth of an sd."""
EFFECT_VALUES = 2**23
"""Expected outcomes that are held at once: 64 MB, by memory."""

# -- families side by side -------------------------------------------------------------------------------

FAMILY_SECONDS = 120.0
"""Seconds for each family, by default. By time."""
MEMORY_PAUSE = 0.02
"""Seconds between two looks at the memory of the process. Chosen by hand."""
LEAST_ERROR = 1e-3
"""Sds below which errors are drawn as one: Monte Carlo noise is more. By what a reader can see."""
