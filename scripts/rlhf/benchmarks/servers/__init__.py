"""What stands behind and before the relay: servers of models, requests to them, and what they cost."""
