"""Evidence about a fit: importance weights, Stein residuals, chains, other modes, and the verdicts."""
