"""Stage 1: collect the prompts of a dataset."""
