"""What a machine has, and what a model needs of it: memory, operations, time. Nothing here changes a result."""
