"""Drift: whether new rows are of the law of those that a model was validated on, and what has moved."""
