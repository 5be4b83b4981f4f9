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
MOSTLY_LABELS = 0.5
"""Share of labels that are no numbers, from which on a column is taken for groups that were computed with, and below which
for numbers with a slip. Chosen by hand."""

# -- groups ----------------------------------------------------------------------------------------------

MANY_GROUPS, SPARSE = 1000, 10
"""Codes with a zero among them that leave so many groups, and all but one in so many, without a row may be identifiers.
Chosen by hand: small tables with gaps pass, and customer numbers are asked about."""

# -- memory and speed of a target ------------------------------------------------------------------------

BATCH = 32
"""Rows of one compiled call of a density: of one size, so that one program serves any number. Chosen by hand: short of
waste by padding where few are asked for, and long enough for vector units."""
LARGEST_WORK = 2**17
"""Numbers that one gradient reads, above which rows go one by one: 1 MB in double precision, by the size of a cache."""
CONSTRAINED = 2**23
"""Numbers of one call that computes values of sites: 64 MB in double precision, by memory."""
LARGEST_CONSTRAINED = 1024
"""Rows of such a call at most. Chosen by hand: a call's own cost is then small beside its work."""
LARGEST_BLOCK = 2**22
"""Numbers of one call that draws from the prior or predicts: 32 MB in double precision, by memory."""
LARGEST_DRAWN = 1000
"""Draws of such a call at most. Chosen by hand: a call's own cost is then small beside its work."""
READ_BLOCK = 2**22
"""Values of a memory map that are read at once: 32 MB in double precision, by memory."""
LARGEST_TABLE = 2**27
"""Numbers of one joint table of discrete sites at most: 1 GB in double precision, by memory."""
PRIOR_DRAWS = 1000
"""Prior draws where nobody says how many: the standard error of a 5% quantile's level is then 0.7%."""
KEPT_DENSITIES = 16
"""Compiled densities of a model that are kept: as many variants of it can be fitted in turn. By memory."""

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

# -- fingerprints ----------------------------------------------------------------------------------------

FINGERPRINT_DIGITS = 16
"""Hexadecimal digits of a fingerprint of data or code: 64 bits, of which two among millions are hardly alike by chance."""

# -- files and the cache of compiled programs ------------------------------------------------------------

ATTEMPTS = 5
"""Times that a draft is made anew: another process may take one that it was too fast to find locked. Chosen by hand."""
STALE = 86400.0
"""Seconds after which a draft is nobody's, where the file system has no locks: a day, longer than any write."""
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
