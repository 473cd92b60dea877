"""Scores that a function or a server of the user gives."""
