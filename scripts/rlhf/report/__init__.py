"""The report of an experiment: one self-contained page, a summary table and the figures."""
