"""Labels and codes of groups that sites agree on, where some of them have no rows of some group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def agreed(
    labels: Mapping[str, Mapping[str, Sequence[Any]]], counts: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, tuple], dict[str, int]]:
    """Labels of arguments over all sites, and numbers of groups of those that have codes without labels.

    Labels stand in the order of a site that has all of them, else sorted. Whole numbers are codes where they are at some
    site: one without rows of the first group cannot tell.

    Parameters
    ----------
    labels, counts : mapping of str to mapping
        By site: argument to its labels, and argument to its number of groups.

    Examples
    --------
    >>> agreed({"a": {"g": ["low", "high"]}, "b": {"g": ["high"]}}, {})
    ({'g': ('low', 'high')}, {})
    >>> agreed({"a": {"g": ["x", "z"]}, "b": {"g": ["y"]}}, {})
    ({'g': ('x', 'y', 'z')}, {})
    >>> agreed({"a": {"g": [1, 2]}}, {"b": {"g": 2}})
    ({}, {'g': 3})
    """
    sizes: dict[str, int] = {}
    for own in counts.values():
        for argument, count in own.items():
            sizes[argument] = max(sizes.get(argument, 0), count)
    found: dict[str, tuple] = {}
    for argument in sorted({name for own in labels.values() for name in own}):
        lists = [tuple(own[argument]) for _, own in sorted(labels.items()) if argument in own]
        every = {label for own in lists for label in own}
        if argument in sizes and all(isinstance(v, int) and v >= 0 for v in every):
            sizes[argument] = max(sizes[argument], max(every) + 1)
            continue
        whole = sorted((own for own in lists if set(own) == every), key=repr)
        found[argument] = whole[0] if whole else tuple(sorted(every, key=lambda v: (str(type(v)), v)))
    return found, sizes
