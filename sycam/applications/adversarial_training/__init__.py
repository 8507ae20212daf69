"""Adversarial training whose budget per pixel follows a CAM (PART), attacks, robust accuracy."""
