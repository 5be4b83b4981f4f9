"""Chains of NUTS, from where a fit ended."""
