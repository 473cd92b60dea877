"""Pairs that a dataset holds ready-made: their columns, and what becomes of its rows."""
