"""Policies compared on the same prompts: at equal length, with the noise between runs, corrected for their number."""
