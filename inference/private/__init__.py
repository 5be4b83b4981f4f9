"""Fits that keep the rows that they see private."""
