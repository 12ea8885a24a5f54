"""What can go wrong, for people: every message says what is wrong, what was given, what is allowed and what to do.

SurgVLError
  ConfigError       an argument, a YAML file or a folder that cannot be used as asked
  DataError         a video, a label file or a table that does not hold what it should
  CheckpointError   weights that do not fit, or a model folder that is not one
  ServerError       a server that does not answer as it should
"""


class SurgVLError(Exception):
    """Base class; the command line prints it as one line."""


class ConfigError(SurgVLError):
    """An argument, a YAML file or a folder cannot be used as asked."""


class DataError(SurgVLError):
    """A video, a label file or a table does not hold what it should."""


class CheckpointError(SurgVLError):
    """Weights do not fit, or a folder is not a model folder."""


class ServerError(SurgVLError):
    """A server does not answer as it should."""
