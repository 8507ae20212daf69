"""Where networks come from: libraries, users' files, checkpoints."""
