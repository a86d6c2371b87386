"""Forms with a file: it is written where it stays, not to a temporary folder that may be memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api.errors import HttpProblem

_FIELDS = 8  # beside the file


class _Parser(MultiPartParser):
    """Keep the file of a form on the disk of a folder, without a name."""

    folder: Path

    def on_headers_finished(self) -> None:
        """Give the part that begins its file."""
        super().on_headers_finished()
        file = self._current_part.file
        if file is not None:
            file.file.close()
            file.file = TemporaryFile(dir=self.folder)  # noqa: SIM115  # the form closes it
            self._files_to_close_on_error[-1] = file.file  # type: ignore[call-overload]

    def close_unfinished(self, form: FormData) -> None:
        """Close the file of a part that never ended: it is not among those of the form."""
        finished = {id(item.file) for item in form.values() if isinstance(item, UploadFile)}
        for file in self._files_to_close_on_error:
            if id(file) not in finished:
                file.close()


@asynccontextmanager
async def form_of(request: Request, folder: Path) -> AsyncIterator[FormData]:
    """Read a form with one file, which goes with the request unless it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    parser = _Parser(request.headers, request.stream(), max_files=1, max_fields=_FIELDS)
    parser.folder = folder
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HttpProblem(
            400, f"the form cannot be read: {error.message.rstrip('.').lower()}"
        ) from error
    parser.close_unfinished(form)
    try:
        yield form
    finally:
        await form.close()
