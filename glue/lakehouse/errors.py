"""Errors that a person may see. Each message names the thing and says what was expected, what was found and what to do next."""

from __future__ import annotations


class JobError(Exception):
    """A job can't go on; the message is the reason, on one line."""


class LockLostError(JobError):
    """The run does not hold the run lock (any more), so it must not write."""


class DeployedMeanwhileError(JobError):
    """The run was planned by another version of the service: its steps would mix two versions of the models."""


class LandingChangedError(JobError):
    """A landing file is not the version that the manifest names."""


class LakeUnusableError(JobError):
    """The lake's tables are not what the contracts say, or are not where they were when the run started."""
