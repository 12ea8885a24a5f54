"""Errors for users: a message says what is wrong with which value, what is allowed and what to do, in one line.

SurgVLError
  ConfigError       an argument, a YAML file or a folder that cannot be used
    Busy            a folder that another process is writing
  DataError         a video, a label file or a table with the wrong content
    Unreadable      a video that cannot be read where a clip is cut
  CheckpointError   weights that do not fit the model, or an invalid model folder
  ServerError       a server that fails or gives an invalid answer

`Terminated` is not an error: a scheduler or `kill` has ended the work. A `SurgVLWarning` says that work continues with
less than was given.
"""

import signal


class SurgVLError(Exception):
    """Base class; the command line prints the message as one line."""


class ConfigError(SurgVLError):
    """An argument, a YAML file or a folder cannot be used."""


class Busy(ConfigError):
    """Another process or thread is writing a folder."""


class DataError(SurgVLError):
    """A video, a label file or a table has the wrong content."""


class Unreadable(DataError):
    """A video cannot be read where a clip is cut.

    Args:
        video_id: the video.
        message: the problem.
    """

    def __init__(self, video_id: str, message: str):
        super().__init__(message)
        self.video_id = video_id


class CheckpointError(SurgVLError):
    """Weights do not fit the model, or a model folder is invalid."""


class ServerError(SurgVLError):
    """A server fails or gives an invalid answer."""


class Terminated(SystemExit):
    """SIGTERM has ended work before its end; the exit status is 143, as of a process that the signal itself has ended.

    A `SystemExit`, so that a script that trains ends with this status, too.

    Args:
        reached: how far the work got.
    """

    def __init__(self, reached: str):
        super().__init__(128 + signal.SIGTERM)
        self.reached = reached


class SurgVLWarning(UserWarning):
    """Work continues with less than was given; the command line prints the message as one line."""


def first_line(error: BaseException | None) -> str:
    """What another library says in an error, for a message of ours.

    Its first sentence, with the line that a colon announces, at most 200 characters; its class if it says nothing.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = " ".join([lines[0], *(line.strip() for line in lines[1:2] if lines[0].endswith(":"))])
    return text.split(". ")[0].rstrip(".: ")[:200]
