"""Surrogate builders: models of the forward map."""
