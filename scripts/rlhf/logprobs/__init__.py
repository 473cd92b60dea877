"""Stage 5: log-probabilities of the pairs under their reference policy, which sampled them."""
