"""Models whose rows have latent quantities of their own, with networks: encoders, training, evidence by row."""
