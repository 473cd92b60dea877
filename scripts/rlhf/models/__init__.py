"""Models, of the hub or of a folder: which one, whether it is whole, and loading it."""
