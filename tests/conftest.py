"""Settings of all tests: the same examples every time, and none fails for being slow on a busy machine."""

from hypothesis import settings

settings.register_profile("rayswarm", derandomize=True, deadline=None, database=None, print_blob=False)
settings.load_profile("rayswarm")
