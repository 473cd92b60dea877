"""Results as a folder of datasets and models for others, and its upload to the hub where the user asks for it."""
