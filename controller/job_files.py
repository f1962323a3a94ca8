"""Jobs as files: reading one with errors that say what to change, and remembering those that were added.

What is remembered is a convenience: names, and what a switch has no use for (window, quantisation). The switch alone
decides which jobs there are.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from esa.errors import BadInput
from esa.job import Job, Member, Pool


def read_job(path: Path) -> Job:
    """Read the job in a JSON file; BadInput names the file, the key and what is allowed."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise BadInput(f"{path}: {reason}") from None
    try:
        return Job.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(f"{path}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return all problems of a job's JSON on one line, each with its key."""
    return "; ".join(problems_of(error))


def problems_of(error: ValidationError) -> list[str]:
    """Return the problems of a job's JSON, each with its key."""
    problems = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key; allowed: {', '.join(_allowed_keys(problem['loc']))}"
        elif problem["type"] == "json_invalid":
            message = message.replace("Invalid JSON:", "not JSON:")
        elif problem["type"] not in ("missing", "value_error"):
            message = f"{message}, not {json.dumps(problem['input'], default=str)}"
        problems.append(f"{key}: {message}" if key else message)
    return problems


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    owner = next((part for part in reversed(location[:-1]) if isinstance(part, str)), None)
    models: dict[str | None, type[BaseModel]] = {
        "pool": Pool,
        "workers": Member,
        "server": Member,
        "more_servers": Member,
    }
    model = models.get(owner, Job)
    return list(model.model_fields)


class SavedJobs:
    """A JSON file: switch -> job id -> the job as it was added. A file that cannot be read counts as empty."""

    def __init__(self, path: Path, switch: str) -> None:
        self.path = path
        self._switch = switch

    @staticmethod
    def default_path() -> Path:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "esa" / "jobs.json"

    def jobs(self) -> dict[int, Job]:
        """Return job id -> the job as it was added."""
        found = {}
        for saved in self._read().get(self._switch, {}).values():
            try:
                job = Job.model_validate(saved)
            except ValidationError:
                continue
            found[job.job] = job
        return found

    def put(self, job: Job) -> None:
        with self._alone():
            content = self._read()
            content.setdefault(self._switch, {})[str(job.job)] = job.model_dump(mode="json")
            self._write(content)

    def drop(self, job: int) -> None:
        with self._alone():
            content = self._read()
            if content.get(self._switch, {}).pop(str(job), None) is not None:
                self._write(content)

    def clear(self) -> None:
        with self._alone():
            content = self._read()
            if content.pop(self._switch, None) is not None:
                self._write(content)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the file's folder, so that others who change the file wait until this is done."""
        with ExitStack() as stack:
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                folder = os.open(self.path.parent, os.O_RDONLY)
                stack.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {switch: jobs for switch, jobs in content.items() if isinstance(jobs, dict)}

    def _write(self, content: dict[str, dict[str, Any]]) -> None:
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            new.write_text(json.dumps(content, indent=2) + "\n")
            new.replace(self.path)
        except OSError:
            return  # the switch is what counts; without the file, jobs go by their ids
