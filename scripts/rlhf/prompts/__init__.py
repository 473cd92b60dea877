"""Stage 1: the prompts of a dataset."""
