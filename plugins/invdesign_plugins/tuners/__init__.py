"""Tuners: what proposes hyper-parameters."""
