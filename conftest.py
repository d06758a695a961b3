"""Settings for every test: property tests have no deadline, and fixed examples under CI."""

import os

from hypothesis import settings

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")
