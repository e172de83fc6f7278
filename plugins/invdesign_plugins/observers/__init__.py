"""Observers: what listens to runs."""
