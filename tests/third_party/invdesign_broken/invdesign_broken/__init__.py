"""A module that implements no hook."""
