"""Models that are fitted again: when that is due, on which rows, and whether what comes of it may be served."""
