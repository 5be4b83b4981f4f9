"""Rows at a time: batches, blocks, and how many of them memory holds."""
