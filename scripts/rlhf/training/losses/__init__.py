"""The losses, one file each: the name of a file is the name of its loss in the configuration."""
