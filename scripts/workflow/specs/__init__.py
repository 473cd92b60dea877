"""The settings that programs get, taken from the configuration."""
