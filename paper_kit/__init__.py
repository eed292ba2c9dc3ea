__version__ = "0.1.0"
"""A notebook-first companion to 48 computer-vision papers."""
