"""What holds for all tests."""

import os

from hypothesis import settings

# A busy machine may take half a second for what else takes one millisecond; no property here is one of time.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

# Hundreds of processes are started; each would compile every module again, a third of a second, and that is not how
# anybody's server starts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
