"""A language model as a judge, behind an OpenAI-compatible server."""
