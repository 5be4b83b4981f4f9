"""``Posterior``: draws, summary, verdicts, and what they rest on."""
