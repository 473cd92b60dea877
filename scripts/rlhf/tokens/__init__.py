"""Token ids: chat templates, packs of sequences without padding, and attention over packs."""
