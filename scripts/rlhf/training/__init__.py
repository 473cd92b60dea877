"""Stage 6: a new policy, trained on the pairs."""
