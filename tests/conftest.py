"""Settings of all tests: the same examples every time, and none fails for being slow on a busy machine."""

import pytest
from hypothesis import settings

settings.register_profile("rayswarm", derandomize=True, deadline=None, database=None, print_blob=False)
settings.load_profile("rayswarm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray run one after another: two Rays at once are too much for two cores."""
    for item in items:
        if item.get_closest_marker("ray") is not None or "benchmarks" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("ray"))
