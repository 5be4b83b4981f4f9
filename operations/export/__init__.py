"""Posteriors as files that run without elboroom."""
