"""Stage 3: a reward for each response, from reward models, functions or servers."""
