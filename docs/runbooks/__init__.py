"""Runbooks of the alert rules: pages of the documentation that travel with the package."""
