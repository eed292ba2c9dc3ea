"""A notebook-first companion to 48 computer-vision papers."""
