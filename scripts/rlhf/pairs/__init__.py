"""Stage 4: a preference pair per prompt: the chosen and the rejected response."""
