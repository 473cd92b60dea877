"""The error for what the user can fix, and where in the user's own code an exception comes from."""

import linecache
import traceback
from pathlib import Path


class UserError(Exception):
    """A mistake in the configuration, the input or the machine; programs print its message without a traceback.

    The message says what is wrong, where (file, row, key), and what to do about it.
    """


def own_line(error: BaseException, path: Path) -> str:
    """What was raised, and the last line of `path`'s folder that was running, which is where a user can fix it."""
    raised = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{raised}, at {error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    installed = ("site-packages", "dist-packages")  # an environment may lie in the working directory
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(path.parent) and not any(name in frame.filename for name in installed)
    ]
    if not own:
        return raised
    frame = own[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"{raised}, at {frame.filename}, line {frame.lineno}: {line}"
