"""Results that another experiment has made in exactly the same way are taken instead of computed."""
