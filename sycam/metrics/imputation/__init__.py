"""Filling removed pixels by the linear system of ROAD, in C, CUDA or torch."""
