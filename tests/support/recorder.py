"""The old name of `instrumented_pool.testing.RecordingObserver`."""

from instrumented_pool.testing import RecordingObserver as Recorder

__all__ = ["Recorder"]
