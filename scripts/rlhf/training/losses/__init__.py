"""One loss per file; the file's name is the loss's name in the configuration."""
