"""Every number that serving decides with: what it means, and where it comes from."""

from __future__ import annotations

# -- what an answer is made of ---------------------------------------------------------------------------

SERVED_DRAWS = 2000
"""Draws of the posterior that an answer is made of: *trusted* asks of a 95% quantile of a Gaussian 1,150."""
ENCODED_DRAWS = 1000
"""Weighted draws of an encoded row: a tenth of a second; with 4,000 nine rows in ten of scikit-learn's digits are trusted, with these *caution*."""
PATIENCE = 0.25
"""Share of the time that a request has, which evidence for its rows may take; where it would take more they are answered without."""
CLASS_DRAWS = 500
"""Draws that probabilities of classes are means over: these are means of smooth functions, and cost one call a class."""
ALONE_ROWS, ALONE_DRAWS, ALONE_OFF = 7, 3, 1e-3
"""Rows and draws by which is seen whether a model's rows see each other, and by how much a log density may be off by rounding."""
INTERVAL = (0.05, 0.5, 0.95)
"""Quantiles of an answer: those of a summary."""
DIGITS = 9
"""Significant digits of the numbers of an answer: far more than Monte Carlo error leaves, and so few that batches of other sizes, which
are compiled otherwise, give the same."""
CACHED_ROWS = 4096
"""Answers of rows that are kept for when the same row comes again."""
CACHED_NUMBERS = 2_000_000
"""Numbers that they have together at the most: 130 MB, as Python keeps them."""
FEW_DRAWS = 100
"""Draws of an answer where there is no time for more: a mean is off by a tenth of its sd, which is what *caution* means."""
SCORE_TRUSTED, SCORE_CAUTION = 0.1, 0.5
"""Standard errors of a log predictive density, in nats, up to which it is trusted, and *caution*: a few draws give all of that of a row which
the model finds hard to believe."""

MOST_GAPS = 3
"""Columns that may be missing, of rows that are predicted: each set of them is a model of its own, which is compiled before the service is ready."""

# -- batches ---------------------------------------------------------------------------------------------

MOST_BATCHED = 64
"""Rows of one call at the most: each power of two up to it is compiled before the service is ready. By time: a call takes milliseconds."""
LONGEST_WAIT = 0.005
"""Seconds that a request waits for others at the most: a twentieth of the promise of a recommender."""
MOST_WAITING = 4096
"""Rows that wait at the most; more are refused (429): at 2,000 rows a second two seconds."""
STUCK_SECONDS = 120.0
"""Seconds of one call after which the process is said to be dead. Chosen by hand: calls take milliseconds, compilations seconds."""

# -- limits ----------------------------------------------------------------------------------------------

MOST_BYTES = 2**20
"""Bytes of a request's body: 64 rows of 1,000 numbers are half of it."""
MOST_ROWS = 1024
"""Rows of a request."""
MOST_DEPTH = 8
"""Lists and objects within each other: rows of columns of arrays of up to four axes are six."""
MOST_HEADERS, MOST_HEADER_BYTES = 64, 16 * 1024
"""Headers of a request, and their bytes, its target among them: what common servers take."""
REQUEST_SECONDS = 10.0
"""Seconds within which a request has to be answered, and its body to have come."""
HEAD_SECONDS = 10.0
"""Seconds within which the head of a request has to have come: connections that send nothing are closed."""
IDLE_SECONDS = 30.0
"""Seconds that a connection is kept between two requests."""
MOST_CONNECTIONS = 2048
"""Connections at once; more are closed as they come."""
DRAIN_SECONDS = 30.0
"""Seconds that requests have to end in once the process is told to: what Kubernetes waits."""
LONGEST_ID = 64
"""Letters of a request's id."""

# -- the service -----------------------------------------------------------------------------------------

LOOK_SECONDS = 1.0
"""Seconds between two looks at what the alias names."""
DEGRADED_SECONDS = 60.0
"""Seconds for which a service says that it answers without evidence, after one such answer: a scrape or two of Prometheus."""
HEALTH_TIMEOUT = 2.0
"""Seconds that a connection to the health thread may take."""
MOST_PORT = 65535
"""The greatest port."""

# -- a candidate -----------------------------------------------------------------------------------------

CANDIDATE_SHARE = 0.5
"""Share of the time that a request has, within which a candidate has to answer it; then what is live does, which has the rest."""
KEPT_SECONDS = 5.0
"""Seconds between two writes of where a canary stands: what a crash may lose."""
MOST_OUTSTANDING = 200_000
"""Keys whose outcomes are waited for: an hour of 55 requests a second, 16 bytes each; the oldest are let go."""
LONGEST_KEY = 200
"""Letters of the key of a request."""
LEAST_LOG = -700.0
"""Log density of a row that a version gives less than any double holds: a loss is bounded, for either version alike."""

# -- tokens ----------------------------------------------------------------------------------------------

TOKEN_BYTES, TOKEN_ID_BYTES = 32, 6
"""Random bytes of a token, and of the id by which it is found: nobody guesses 256 bits, so that a plain digest of them may be kept."""
TOKEN_DAYS = 90.0
"""Days that a token holds."""
GRACE_HOURS = 24.0
"""Hours that a token holds after another has taken its place."""
LONGEST_TOKEN = 200
"""Letters of what is given for a token; more are none."""

# -- the audit trail -------------------------------------------------------------------------------------

AUDIT_SECONDS = 0.5
"""Seconds between two writes of the trail: what a power cut may lose."""
AUDIT_BYTES = 64 * 2**20
"""Bytes of a file of the trail, then another one follows: some 250,000 requests."""
AUDIT_WAITING = 100_000
"""Lines that wait to be written; where the disk takes no more, further requests are refused."""

# -- columns ---------------------------------------------------------------------------------------------

FAR = 10**6
"""So much further than any whole number of the training data a column is tried with, to see whether it is an index."""
MOST_SCALE = 300.0
"""Powers of ten by which numbers are multiplied to be rounded: what a double holds."""

MOST_PIECE = 64 * 1024
"""Bytes that a system hands over at once: so much may follow a head before it is looked at."""
HEALTHCHECK_SECONDS = 30
"""Seconds within which a worker has to answer the process that watches it, before it is started again: a compilation may hold it up."""
