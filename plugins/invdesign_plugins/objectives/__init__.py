"""Objectives: how far predictions are from a goal."""
