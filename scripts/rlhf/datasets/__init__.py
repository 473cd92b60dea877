"""Datasets, of the hub or of a file: their columns and rows."""
