"""Sampling engines, one module each."""
