"""The reference of all configuration keys, and errors that name them."""
