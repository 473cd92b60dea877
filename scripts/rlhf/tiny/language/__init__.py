"""The language of the tiny world: what can be asked and answered in it, and what is right."""
