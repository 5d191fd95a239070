"""What happens to an object between defaulting and validation. Each plug-in is a file and knows none of the others."""
