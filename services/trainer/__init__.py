"""Runs: sparse autoencoders trained on vectors of a dataset."""
