"""The options of commands: declared, completed, spelt in messages, and read."""
