"""Datasets from the hub or local files: their columns and rows."""
