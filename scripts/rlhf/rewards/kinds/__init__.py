"""How responses are rewarded: one module per `kind`."""
