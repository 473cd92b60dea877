"""Cards: Markdown with a front matter, from what the results say of themselves."""
