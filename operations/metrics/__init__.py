"""Numbers by which a deployed posterior is watched: one table of them, and what measures those of a posterior."""
