"""What is worth scoring next, given what others scored."""
