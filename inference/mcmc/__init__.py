"""Chains from where a fit ended."""
