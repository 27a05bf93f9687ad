"""What holds for all tests."""

from hypothesis import settings

# A busy machine may take half a second for what else takes one millisecond; no property here is one of time.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")
