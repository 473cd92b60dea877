"""Stage 3: a reward for each response, by reward models or functions."""
