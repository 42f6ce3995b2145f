"""What llama.cpp says of itself: goes to the log, its first complaint is kept for an error."""

from __future__ import annotations

import logging

import llama_cpp as C

ERROR = 4  # of ggml_log_level
log = logging.getLogger("evokd.teacher.llama_cpp")


class Log:
    """What C says: the first complaint is kept, and every line is logged as news."""

    def __init__(self) -> None:
        self.complaint = ""
        self.callback = C.llama_log_callback(self._take)
        self._begun = ""  # a line of which C has not said the end

    def start(self) -> None:
        """Take over from here. C keeps the callback for good, and so does the module."""
        self.complaint = ""
        C.llama_log_set(self.callback, None)

    def _take(self, level: int, text: bytes, _: object) -> None:
        said = text.decode("utf-8", "replace")
        if level == ERROR and not self.complaint:
            self.complaint = " ".join(said.split())
        *lines, self._begun = (self._begun + said).split("\n")
        for line in lines:
            log.info("%s", line)


LOG = Log()
