"""Stage 5: log-probabilities of the pairs under the policy that sampled them."""
