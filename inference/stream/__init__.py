"""Posteriors of streams: what the data have said so far, carried on to the data that come next."""
