"""Judging a configuration from what another one showed."""
