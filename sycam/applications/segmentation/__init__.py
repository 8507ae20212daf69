"""AME-CAM: masks learned from image labels alone, by several exits and attention over them."""
