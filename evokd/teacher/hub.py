"""Get a teacher's GGUF file from the Hugging Face hub: `hf:owner/repo:pattern.gguf`.

A file that is in this machine's hub cache is taken from there, without the network. What is
missing is downloaded into the cache; a download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from evokd.errors import MissingExtra, TeacherError
from evokd.teacher.modelfile import parts

try:
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
    from huggingface_hub import errors as hub_errors
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

FORM = "the form is hf:owner/repo:pattern.gguf, with a revision hf:owner/repo@revision:pattern.gguf"
NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([^:]+))?:(.+)")
TRIES = 5  # of a download that breaks off
SHOWN = 6  # file names that an error lists
FINAL = (hub_errors.HfHubHTTPError, hub_errors.LocalEntryNotFoundError, ValueError)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file that somebody named.

    Attributes:
        repo: owner and name.
        revision: a branch, a tag or a commit.
        pattern: a file name or a shell pattern; capital letters don't matter.
    """

    repo: str
    revision: str
    pattern: str

    def __str__(self) -> str:
        return f"hf:{self.repo}@{self.revision}:{self.pattern}".replace("@main:", ":")

    def matches(self, file: str) -> bool:
        """Return whether a file of the repository is meant."""
        path, pattern = file.lower(), self.pattern.lower()
        own = path.rpartition("/")[2]
        return path.endswith(".gguf") and (fnmatchcase(path, pattern) or fnmatchcase(own, pattern))


def parse(name: str) -> HubFile:
    """Take `hf:owner/repo@revision:pattern.gguf` apart.

    Raises:
        TeacherError: when the name has another form.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise TeacherError(f"{name} names no file on the hub", FORM)
    repo, revision, pattern = found.groups()
    return HubFile(repo, revision or "main", pattern)


def fetch(name: str) -> Path:
    """Return the path of the file in the hub cache, after downloading what is missing.

    Of a split model all parts are fetched, and the path of the first is returned.

    Raises:
        TeacherError: when the name fits no file or several, or the hub cannot be reached. The
            hint says what to download and where to put it.
    """
    wanted = parse(name)
    cached = _cached(wanted)
    if cached:
        return cached
    with _explained(wanted):
        info = HfApi().model_info(wanted.repo, revision=wanted.revision)
        files = _choose(wanted, [s.rfilename for s in info.siblings or ()])
        log.info("downloading %s: %s", wanted.repo, ", ".join(files))
        paths = [_download(wanted, file) for file in files]
    if len({path.parent for path in paths}) > 1:
        raise TeacherError(f"{wanted} changed during the download", "run it again")
    return paths[0]


def _cached(wanted: HubFile) -> Path | None:
    """Return the file if all of it is in the cache, and nothing else there fits."""
    try:
        there = snapshot_download(wanted.repo, revision=wanted.revision, local_files_only=True)
        folder = Path(there)
        found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        return folder / _choose(wanted, found)[0]
    except (hub_errors.LocalEntryNotFoundError, ValueError, TeacherError):
        return None


def _download(wanted: HubFile, file: str) -> Path:
    """Download one file; a connection that breaks in the middle is taken up again."""
    for left in reversed(range(TRIES)):
        try:
            return Path(hf_hub_download(wanted.repo, file, revision=wanted.revision))
        except Exception as problem:  # of whichever HTTP library this version is built on
            if not left or isinstance(problem, FINAL) or _disk_full(problem):
                raise
            log.warning("%s broke off, going on: %s", file, _line(problem))
    raise AssertionError("the last try returns or raises")


def _disk_full(problem: Exception) -> bool:
    return isinstance(problem, OSError) and problem.errno == errno.ENOSPC


def _choose(wanted: HubFile, files: Iterable[str]) -> list[str]:
    """Return the parts of the one model that the name fits."""
    files = sorted(files)
    models = {parts(file)[0]: parts(file) for file in files if wanted.matches(file)}
    if not models:
        there = [file for file in files if file.endswith(".gguf")]
        hint = f"it has {_listed(there)}" if there else "it has no GGUF files"
        raise TeacherError(f"{wanted} fits no file of {wanted.repo}", hint)
    if len(models) > 1:
        first = HubFile(wanted.repo, wanted.revision, next(iter(models)))
        hint = f"name one of them, as in {first}"
        raise TeacherError(f"{wanted} fits {len(models)} models: {_listed(models)}", hint)
    [chosen] = models.values()
    gone = [part for part in chosen if part not in files]
    if gone:
        raise TeacherError(f"{wanted.repo} lacks {_listed(gone)}", "use another file or repository")
    return chosen


@contextmanager
def _explained(wanted: HubFile) -> Iterator[None]:
    """Turn what goes wrong on the way to the hub into one line that says what to do."""
    login = "or log in: hf auth login, or set HF_TOKEN"
    try:
        yield
    except hub_errors.GatedRepoError as problem:
        message = f"{wanted.repo} is only for those who accept its terms"
        raise TeacherError(message, f"accept them on its page, {login}") from problem
    except hub_errors.RepositoryNotFoundError as problem:
        message = f"there is no {wanted.repo} on the hub, or it is private"
        raise TeacherError(message, f"check teacher.model, {login}") from problem
    except hub_errors.RevisionNotFoundError as problem:
        message = f"{wanted.repo} has no revision {wanted.revision}"
        raise TeacherError(message, FORM) from problem
    except hub_errors.HFValidationError as problem:
        raise TeacherError(f"{wanted}: {_line(problem)}", FORM) from problem
    except TeacherError:
        raise
    except Exception as problem:  # of whichever HTTP library this version is built on
        if _disk_full(problem):
            hint = "make room or set HF_HOME to another disk; the download goes on where it stopped"
            message = f"no room for {wanted} in {constants.HF_HUB_CACHE}"
            raise TeacherError(message, hint) from problem
        raise _unreached(wanted, problem) from problem


def _unreached(wanted: HubFile, problem: Exception) -> TeacherError:
    # What HTTP libraries say of a missing network is long and names their own insides.
    unconnected = "connect" in type(problem).__name__.lower() or not _line(problem)
    reason = "no connection" if unconnected else f"{type(problem).__name__}: {_line(problem)}"
    where = f"{wanted} is not whole in {constants.HF_HUB_CACHE}"
    revision = "" if wanted.revision == "main" else f" --revision {wanted.revision}"
    anywhere = "*" + wanted.pattern.removeprefix("*")  # in a folder, too
    command = f"hf download {wanted.repo}{revision} --include '{anywhere}' --local-dir models"
    return TeacherError(
        f"{where} and cannot be downloaded: {reason}",
        f"where there is a network: {command} (capital letters matter there); then set"
        " teacher.model to the path of the file",
        retryable=True,
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]
