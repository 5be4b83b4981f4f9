"""Every number that operations decide with: what it means, and where it comes from.

"Chosen by hand" says what a number trades; where a benchmark is named, that is where its effect is measured.
"""

from __future__ import annotations

# -- tracking --------------------------------------------------------------------------------------------

TRACKER_SECONDS = 3.0
"""Seconds that a fit waits at its end, in all, for trackers to take what they were told. Chosen by hand: a server that answers takes a tenth."""
TRACKER_PROBE = 2.0
"""Seconds within which a server has to answer before anything is sent to it."""
TRACKER_EVENTS = 20_000
"""Events that wait for a tracker; further ones are lost to it, and counted: memory, a kilobyte each at most."""
TRACKER_TRIES = 3
"""Times that a tracker may fail in a row before it is told nothing more. The same events are tried again."""
TRACKER_PAUSE = 0.2
"""Seconds between two deliveries: what was told meanwhile goes together."""
TRACKED_EACH = 100
"""Steps that are told of each doubling of their number: all of the first hundred, every second up to 400, and so on. A million steps
are 1,400 lines."""
TRACKED_BATCH = 1000
"""Numbers in one request to MLflow, the most that its server takes."""
TRACKED_NAME = 60
"""Letters of a model's name in that of a run."""
TRACKED_ROWS = 10_000
"""Rows of a summary that a tracker keeps: a second's work at most."""

# -- what a data set is ----------------------------------------------------------------------------------

FEW_LEVELS = 12
"""Distinct whole numbers up to which a column is compared level by level, as categories are. Chosen by hand: more are an amount."""
WIDE = 64
"""Columns of a matrix from which on it is one thing, as an image is, and not columns one by one: 8 × 8, the smallest images."""

# -- drift: what is asked of an effect -------------------------------------------------------------------

KS_EFFECT = 0.1
"""Kolmogorov–Smirnov distance that matters: of normal laws a shift of a quarter of an sd. With 100,000 rows 0.007 is significant
and means nothing (evidently, issue 50)."""
SPREAD_EFFECT = 0.8
"""Ratio of variances, or its inverse, that matters: a variance of less than 0.8 is what latent units are watched for."""
UNIT_MEAN = 0.1
"""Shift of the mean of a latent unit that matters, in the reference's sds: what latent units are watched for."""
LEVELS_EFFECT = 0.1
"""Effect size w of differing shares that matters: a small one (Cohen 1988, Statistical power analysis)."""
SHARE_EFFECT = 0.01
"""Difference of shares of missing cells, of blank rows, or of rows beyond a reference's 99%, that matters. Chosen by hand: 3% of
black images are three times that."""
SCORE_EFFECT = 0.05
"""Nats a row that a log score has lost and that matter: of a normal outcome a shift of a third of its sd. Chosen by hand."""
GROUP_EFFECT = 0.25
"""Shift of the outcomes of one group that matters, in predictive sds: the same as `KS_EFFECT` is. Chosen by hand."""
NORM_TAIL = 0.001
"""Upper tail of the chi law of the norm of a latent vector that counts as too far, and share of rows there that matters."""
TAIL = 0.01
"""Share of the reference's rows beyond the error, or the surprise, that counts as great: its 99% quantile."""

# -- drift: how sure -------------------------------------------------------------------------------------

WINDOW_LEVEL = 0.01
"""Probability that a window of rows without drift has any finding. One day in a hundred, by ``benchmarks/drift.py``."""
SHARE_OF_JOINT = 0.2
"""Share of it for each joint test, of columns and of latent units: 0.002, which is what 500 permutations can say (1/501)."""
SHARE_OF_SLOW = 0.2
"""Share of it for the cumulative sums of a monitor: one false alarm in 500 days."""
TAIL_LEVEL = 0.001
"""p-value of too many rows in a tail, whatever else is tested. With a plain count against 1% windows of 1,000 healthy rows alarm
in 42 of 100."""
SCALED_ROWS = 250
"""Rows whose distances say the bandwidth of a kernel. By time."""
PERMUTATIONS, MOST_PERMUTATIONS = 500, 5_000
"""Permutations of a joint test; and at most, where a window's level asks for more: 80 MB, and less is said by their gamma law."""
FRECHET_PERMUTATIONS, FRECHET_RESAMPLES = 20, 50
"""Ways to deal rows out anew for what a Fréchet distance usually is, and rows drawn again for its standard error, known to a tenth. By
time."""
LEAST_COMPARED = 20
"""Rows on each side below which nothing is compared: tests by ranks are near their normal law from there on."""
LEAST_IN_LEVEL = 10
"""Outcomes of a group, on each side, from which on it is compared by itself. Chosen by hand."""
EXPECTED_COUNT = 5.0
"""Expected count below which levels are taken together before a chi-squared test (Cochran 1954)."""
MOST_NAMES = 0.5
"""Share of distinct labels among rows from which on a column names rows, and is not compared."""
NAMED = 8
"""Columns that a finding names of many. By what a reader takes in."""

# -- drift: what is held ---------------------------------------------------------------------------------

MOST_REFERENCE, MOST_WINDOW = 5_000, 10_000
"""Rows of the reference, and of a window, that are kept; of more, some at random. By memory, and by the size of a saved state."""
MOST_JOINT = 500
"""Rows of each side in a joint test: kernels are 8 MB, and a difference that more are needed for does not matter. By time."""
MOST_RECORDED = 400
"""Windows whose summaries a monitor keeps: a year of days. By memory."""
SCORED_ROWS, SCORED_DRAWS, PROMISED_DRAWS = 256, 200, 16
"""Rows of one call of a model, so that it is compiled once; draws that a predictive density is an average over; replicates that say
what log score a model promises. By time."""
ENCODED_DRAWS = 200
"""Weighted draws of a row for its log density: as biased for new rows as for the reference's. By time."""

# -- drift: cumulative sums ------------------------------------------------------------------------------

RUN_LENGTH = 30.0
"""Days between false warnings of a cumulative sum."""
ALLOWANCE = 0.5
"""Half of the shift, in standard errors of a day, that a cumulative sum is quickest to see (Page 1954): one standard error."""
ARL_STATES = 200
"""States of the Markov chain that gives a run length (Brook & Evans 1972): to within 0.1%."""
FIVE_MINUTES = 300.0
"""Seconds of an average of the sources."""

# -- drift: the rules as the sources state them ----------------------------------------------------------

SOURCE_TAIL, SOURCE_KS, SOURCE_NORM, SOURCE_NORM_SHARE = 0.01, 0.01, 5.0, 0.001
SOURCE_MEAN, SOURCE_VARIANCE, SOURCE_SIGMAS = 0.1, 0.8, 3.0
SOURCE_ECE, SOURCE_FRECHET, SOURCE_FRECHET_ROWS, SOURCE_BLANK = 0.05, 5.0, 10_000, 0.01
"""Share of errors above the validation's P99; p of a KS test; norm, and share of rows beyond it; mean and variance of a unit; sds of a
five-minute average; expected calibration error; Fréchet distance and rows for it; variance of a black image. Only for
``strict=True``: benchmarks/drift.py says how often they alarm on healthy traffic."""

# -- what rows may hold ----------------------------------------------------------------------------------

BLANK_VARIANCE = 0.01
"""Variance of an image, in units of its range squared, below which it is blank: what images are commonly gated by."""
REACH = 1.0
"""Ranges of the training data beyond which a number is refused. Chosen by hand: none of 10,000 normal rows lies twice as far as all
of the training did, and another unit is ten times as far."""
USUALLY_BLANK = 0.001
"""Share of the training's images that may be blank where blank ones are refused all the same."""
LEAST_SAID = 30
"""Rows from which on a column of two values is one of two values."""
MOST_LEVELS = 10_000
"""Levels that a schema lists. By memory."""
OPEN_SHARE, LEAST_SINGLE = 0.01, 5
"""Share of rows whose level no other row has, and so many of them, from where on levels that were never seen are to come, and are no
reason to refuse a row. Chosen by hand."""
QUANTILES = 201
"""Quantiles that stand for the law of a column: distances are known to half a percent."""
UNLIKE_TRAINING, FAR_APART, LIKE_TRAINING, CHANCE = 0.4, 1.95, 0.4, 1.1
"""Distances of distributions from where on rows cannot be as they are, and for so many rows that it is no chance (p < 0.001), and up to
where they are like the training's once a change is undone, and for so many rows may be (p > 0.18). Chosen by hand: a shift of one sd
is at 0.38; ``benchmarks/drift.py`` has both errors."""
LEAST_SUSPECTED, STUCK_ROWS = 8, 20
"""Rows from which on a set is suspected of another unit; and of a column that is stuck, or of columns that go together otherwise."""
SURELY, MOST_PAIRED = 1e-6, 20
"""Tail of the χ² law of correlations from where on columns go together otherwise; columns that are looked at. By time."""
PICTURE_RATIO = 3.0
"""Mean squared distance of a mean image, in standard errors, from where on images are turned; and by which turning them back is better."""
LIKE_PICTURE = 0.1
"""Mean squared difference of mean images, in variances of their numbers, up to which images are like the training's once turned back."""
SLIGHT_FACTOR, SURELY_APART, AS_GOOD = (0.2, 5.0), 0.8, 0.05
"""Factors that another law of the rows may come near to, and the distance from where on they are told all the same; and distance by which
a later change has to be better than a simpler one. Chosen by hand."""
UNIT_FACTORS = {
    "ten": 10.0,
    "a hundred": 100.0,
    "a thousand": 1000.0,
    "ten thousand": 1e4,
    "a million": 1e6,
    "60": 60.0,
    "3,600": 3600.0,
    "24": 24.0,
    "7": 7.0,
    "12": 12.0,
    "2.54": 2.54,
    "0.3048 (feet)": 0.3048,
    "1.609 (miles)": 1.609344,
    "0.4536 (pounds)": 0.45359237,
    "4.184 (calories)": 4.184,
    "1,024": 1024.0,
}
"""Factors between units that are taken for one another: powers of ten, of time, of length and weight, of energy and of memory."""
STANDARD, STANDARD_RATIO = 0.1, (0.33, 3.0)
"""How far mean and sd of standardised numbers may be from 0 and 1; and sds of numbers that are not."""

# -- pictures of drift -----------------------------------------------------------------------------------

PICTURE_BINS, PICTURE_POINTS, MOST_DRAWN, MOST_LINES, UPRIGHT = 40, 24, 12, 6, 8
"""Bins of a histogram; levels, or units, of a picture; pictures of a page; lines of a course; names beside each other that are not
upright. By what a reader takes in."""

# -- registry and signing --------------------------------------------------------------------------------

ID_DIGITS = 16
"""Hexadecimal digits of a public key's digest by which it is called: a key is found by them and checked by itself. Chosen by
hand: short enough to read aloud, and no two keys of one trust file share them by chance."""
VERSION_DIGITS = 6
"""Digits of a version's folder, so that names sort as numbers do."""
LONGEST_NAME = 100
"""Characters of a model's name, an alias or a tag: file systems take 255 bytes. Chosen by hand."""
MOST_TAGS = 50
"""Tags of a version, which are read with every listing. Chosen by hand."""
LONGEST_TAG = 1000
"""Characters of a tag's value. Chosen by hand."""
GIT_SECONDS = 5.0
"""Seconds that git may take to name a commit; without an answer a version has none. Chosen by hand."""
MIRROR_SECONDS = 20.0
"""Seconds that a change of the registry waits for its mirror to take it: a version of some megabytes takes one. Chosen by hand."""

# -- drift: windows of a monitor --------------------------------------------------------------------------

LARGEST_SUM = 50.0
"""Limit of a cumulative sum up to which run lengths are looked for: e to the fiftieth days."""
CLIPPED = 0.001
"""Share of the reference's rows at each end that count as if they were no farther, in a cumulative sum: one wild row is no slow change."""
DAY = 86_400.0
"""Seconds of a window that is a day."""

# -- objectives and alerts -------------------------------------------------------------------------------

SLO_SECONDS, SLO_AVAILABILITY, SLO_DAYS = 0.1, 0.999, 30
"""Seconds within which 99% of answers come, share of answers that are no errors of the server, and the days that this share is over:
a recommender's usual promise. Both are a user's to set."""
ALERT_ERRORS = 0.01
"""Share of answers that are errors of the server, over five minutes, which pages."""
ALERT_BURN = 4.0
"""Times too fast that the error budget goes, over an hour, which pages: a month's budget in a week (Site Reliability Workbook, chapter 5)."""
ALERT_BUDGET = 0.5
"""Share of a month's error budget that goes in six hours, which pages."""
ALERT_ECE = 0.05
"""Excess of the expected calibration error over what right probabilities have, on two windows, which pages."""
ALERT_FALL = 0.02
"""Share of the reference's bound by which that of new rows is lower, beyond three standard errors, which is a ticket."""
ALERT_KHAT = 0.1
"""Share of rows whose importance weights do not hold, which is a ticket. Chosen by hand: a few rows are odd in any data."""
ALERT_UNTRUSTED = 0.05
"""Share of answers that are untrusted, over an hour, which is a ticket: as of a posterior's quantities."""
ALERT_MADE_UP = 3.0
"""Fréchet distance of made-up rows over that of as many real ones, which is a ticket. Chosen by hand: of a right model it is about one."""
ALERT_COLLAPSED = 1
"""Active units below which a model's latent quantities are not used."""
ALERT_FAR = 0.01
"""Share of codes beyond the limit, over an hour, which is a ticket: ten times what the prior has."""
ALERT_CANARY = 1.02
"""Loss of a candidate over that of what is live, which is a ticket."""
CANARY_FEWEST, CANARY_PLANNED, CANARY_LEVEL = 100, 5000, 0.01
"""Requests of a candidate before which nothing is decided, those after which its confidence sequence is narrowest, and the probability
that a version which is no worse is ever rolled back."""
AB_DRAWS, AB_BLOCK, AB_FEWEST, AB_SURE = 4000, 1000, 30, 0.95
"""Draws of a comparison of two versions, requests whose shares are drawn at once, requests of either below which shares of so few say
little of a mean, and the probability from which on one of them is said to be better."""
CANARY_SLOWER, CANARY_UNTRUSTED = 2.0, 0.02
"""Seconds of a candidate's requests over those of what is live, and by how much its share of untrusted answers is above theirs, from which
on it is rolled back."""
ALERT_COMPUTE = 86_400.0
"""Seconds of computing a day, of one model, which is a ticket: one core all day. A user's to set."""

# -- dashboards ------------------------------------------------------------------------------------------

DASHBOARD_SCHEMA = 39
"""Version of Grafana's format of dashboards: that of Grafana 10.4 and 11, which later ones read."""
DASHBOARD_COLUMNS, PANEL_WIDTH, PANEL_HEIGHT = 3, 8, 8
"""Panels in a row, and units of the grid, which has 24 columns, of each."""

# -- metrics ---------------------------------------------------------------------------------------------

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper ends, in seconds, of the buckets of answers: two to a decade and more, with the usual promises of 50 and 100 ms among them."""
MOST_SERIES = 1000
"""Series of one metric: Prometheus holds each in memory, some kilobytes; its makers advise to stay far below ten thousand."""
MOST_LABEL = 120
"""Letters of a label's value."""
MOST_UNITS = 50
"""Latent units that have series of their own; of more, quantiles."""
UNIT_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of many units, those that are shown."""
PUSH_SECONDS = 5.0
"""Seconds within which a Pushgateway has to answer."""
METRIC_ROWS = 500
"""Rows, evenly among those given, that metrics are measured at: standard errors of 4% of a standard deviation; weighing them is what takes the time."""
GAP_MEASURED = 32
"""Rows of which each takes steps of its own for the encoder's gap: they are what takes the time."""
PREDICTED_DRAWS = 500
"""Draws of the posterior that predictive densities are means over."""
ENCODED_TIMES = 5
"""Times that one row is encoded to measure how long it takes."""

# -- files that run without elboroom ---------------------------------------------------------------------

EXPORT_ROWS = (1, 7, 33)
"""Rows of the batches in which a file has to give the posterior's own numbers: one, and two that are no powers of two."""
EXPORT_RELATIVE = 1e-5
"""How far off a file's numbers may be, relative to themselves or to their usual size: a hundred roundings of single precision."""
EXPORT_DRAWS = 1200
"""Draws in a file unless others are asked for: of as many a 5% quantile's Monte Carlo error is a quarter of what *trusted* promises."""
EXPORT_ROW_DRAWS = 2000
"""Draws of each row that a file weighs unless others are asked for: a trusted row has 1,143 effective ones."""
LEAST_ROUNDED, LEVELS = 64, 127
"""Numbers of an array from which it is kept in fewer bytes: with fewer its steps take as many; and steps of eight bits to either side."""
CARD_QUANTITIES, CARD_SHOWN, CARD_LABELS = 200, 40, 500
"""Quantities that a model card lists for a program and for a person, and labels of a group: what can be leafed through."""
EXPORT_SHARE = 0.25
"""Share of a promise that rounding may use up before a file's verdict is *caution*: as of Monte Carlo errors."""

# -- fitting again ---------------------------------------------------------------------------------------

INCREMENTAL_DAYS, FULL_DAYS, REST_DAYS = 7.0, 30.0, 1.0
"""Days between updates, between fits of all rows, and between two emergencies at the least (operations.md, section 7)."""
FEWEST_NEW_ROWS = 1
"""New rows without which no update is due. A user's to set."""
CONFIRMED_WINDOWS, CALM_WINDOWS = 2, 3
"""Windows on end with drift that make an emergency, and without before another may be. By hand: with one false alarm in a hundred
windows two on end come once in ten thousand."""
LONGEST_BACK_OFF = 86_400.0
"""Seconds that nothing is due for after runs that failed, at most."""
LATEST_ROWS = 100_000
"""Rows of an emergency, the latest (operations.md, section 7)."""
MOST_FORGOTTEN, FORGETTING_SURE = 0.02, 0.95
"""Share of a row's predictive density that a new version may lose (operations.md, section 7), and how sure that has to be."""
LEAST_BENCHMARK = 30
"""Rows of a benchmark, and of each part of it: of fewer a mean has no normal law."""
MOST_REFUSED = 0.05
"""Share of the rows that the gate may refuse, above which their source has changed. By hand."""

# -- sites -----------------------------------------------------------------------------------------------
FLOWER_SECONDS = 300.0
"""Seconds that a server waits for nodes at first, and for a reply. By hand: a fit of a site takes seconds, and its process starts anew."""
FLOWER_PAUSE = 0.2
"""Seconds between two looks for replies."""
LONGEST_WHY = 200
"""Characters of a site's reason that are read."""
