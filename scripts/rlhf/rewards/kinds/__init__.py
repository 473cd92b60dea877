"""How responses are rewarded, one file for each `kind` of the configuration."""
