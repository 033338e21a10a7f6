"""Programs that judge: their result is right or wrong (equal, whole, refused), not a number to compare.

They take minutes, or need what the tests do without (another framework, a second environment, sanitizers); the tests
run each on something small.
"""
