"""Datasets: where designs and responses come from."""
