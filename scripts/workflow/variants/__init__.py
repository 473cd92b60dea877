"""Training recipes by name: those that the configuration writes out, and those that a sweep makes."""
