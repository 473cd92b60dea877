"""Stage 6: train a new policy on the pairs."""
