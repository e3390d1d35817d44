"""The Top-K sparse autoencoder: Gao et al. 2024, Scaling and evaluating sparse autoencoders."""
