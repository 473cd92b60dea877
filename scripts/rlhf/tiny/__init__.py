"""The embedded tiny world: a grammar, a tokenizer, a policy and a reward model, made by the workflow itself."""
