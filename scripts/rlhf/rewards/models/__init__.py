"""Reward models as functions that score packs."""
