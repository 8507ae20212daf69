"""The precisions in which a network can run, as words."""

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "bfloat16")
