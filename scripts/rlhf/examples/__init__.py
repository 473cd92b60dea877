"""Single responses as examples of what is wanted and of what is not, for losses that need no pairs."""
