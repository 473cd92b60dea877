"""The provenance of existing results, compared with what the configuration asks for."""
