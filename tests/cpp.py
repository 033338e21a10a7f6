"""The library of `inference/` for tests, built once; skipped with the reason where it cannot be."""

import pytest

from benchmark.cpp import Unavailable, build


def built(*options, target='all'):
    """The folder of a build, see `benchmark.cpp.build`."""
    try:
        return build(*options, target=target)
    except Unavailable as e:
        return pytest.skip(str(e))
