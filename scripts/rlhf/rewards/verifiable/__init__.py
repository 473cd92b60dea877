"""Rewards that are checked instead of judged: against reference answers, or by the prompt's own constraints."""
