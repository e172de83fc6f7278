"""Solvers: what searches for designs."""
