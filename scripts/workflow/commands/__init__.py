"""Commands around a run: plan it, resume it, accept its results after a code change, clean up after it."""
