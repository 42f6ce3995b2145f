"""What llama.cpp says of itself: shown only when asked, its first complaint kept for an error."""

from __future__ import annotations

import sys

import llama_cpp as C

ERROR = 4  # of ggml_log_level


class Log:
    """What C says: the first complaint is kept, the rest shown only when asked."""

    def __init__(self) -> None:
        self.verbose = False
        self.complaint = ""
        self.callback = C.llama_log_callback(self._take)

    def start(self, *, verbose: bool) -> None:
        """Take over from here. C keeps the callback for good, and so does the module."""
        self.verbose, self.complaint = verbose, ""
        C.llama_log_set(self.callback, None)

    def _take(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace")
        if self.verbose:
            sys.stderr.write(line)
        if level == ERROR and not self.complaint:
            self.complaint = " ".join(line.split())


LOG = Log()
