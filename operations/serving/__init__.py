"""Versions of a registry that answer over HTTP."""
