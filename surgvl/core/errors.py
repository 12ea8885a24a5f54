"""What can go wrong, for people: every message says what is wrong, what was given, what is allowed and what to do.

SurgVLError
  ConfigError       an argument, a YAML file or a folder that cannot be used as asked
  DataError         a video, a label file or a table that does not hold what it should
    Unreadable      a video that cannot be read where a clip was to be cut
  CheckpointError   weights that do not fit, or a model folder that is not one
  ServerError       a server that does not answer as it should

What goes on with less than was given is told by a `SurgVLWarning`.
"""


class SurgVLError(Exception):
    """Base class; the command line prints it as one line."""


class ConfigError(SurgVLError):
    """An argument, a YAML file or a folder cannot be used as asked."""


class DataError(SurgVLError):
    """A video, a label file or a table does not hold what it should."""


class Unreadable(DataError):
    """A video that cannot be read where a clip was to be cut.

    Args:
        video_id: the video.
        message: what is wrong.
    """

    def __init__(self, video_id: str, message: str):
        super().__init__(message)
        self.video_id = video_id


class CheckpointError(SurgVLError):
    """Weights do not fit, or a folder is not a model folder."""


class ServerError(SurgVLError):
    """A server does not answer as it should."""


class SurgVLWarning(UserWarning):
    """Something goes on with less than was given; the command line prints it as one line."""
