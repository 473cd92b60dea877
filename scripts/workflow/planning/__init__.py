"""Checks and estimates before any job runs: inputs, models, memory, GPU hours."""
