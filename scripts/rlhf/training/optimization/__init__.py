"""The optimizer, its schedule, and one optimizer step."""
