"""Stage 2: several responses to each prompt, sampled from a policy or imported."""
