"""Models from the hub or a folder: locating, checking and loading them."""
