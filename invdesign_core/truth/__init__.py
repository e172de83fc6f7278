"""Simulators as the truth: settings, calls of functions and commands, and what they answered, kept by design."""
