"""The embedded tiny world: a grammar, a tokenizer, a policy and a reward model, made by rules and not downloaded."""
