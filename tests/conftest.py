"""Settings of all tests: the same examples every time, and no clock that a busy machine could trip."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
