"""One file for each kind of thing that can be added to the suite; `tests/test_extensions.py` adds them."""
