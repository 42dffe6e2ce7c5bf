"""Experiments: defined, planned, reported on, and the statistics checked."""
