"""What is asked: the network explained, its images, the metric and the space of formulas."""
