"""Uploaded files stay in memory, up to a limit. Nobody can fill the disk with them."""

from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class BoundedUploadHandler(FileUploadHandler):
    """Keeps a file's first bytes, a little over MAX_BODY_BYTES, and its full size. Forms refuse what is larger.

    Django's own handlers write a larger file to the disk, and parse every POST for its CSRF token before a view can
    refuse it.
    """

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._kept = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Returning None ends the data's way here: no other handler gets it."""
        if start <= settings.MAX_BODY_BYTES:
            self._kept.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        """The file, whose `size` is the full one also where its end was dropped."""
        self._kept.seek(0)
        return InMemoryUploadedFile(
            self._kept, self.field_name, self.file_name, self.content_type, file_size, self.charset
        )
