"""Uploaded files stay in memory, and of a large one only the first part."""

import pytest
from django.conf import settings
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile
from django.http import HttpRequest
from django.test import RequestFactory

LIMIT = settings.MAX_BODY_BYTES
CHUNK = 64 * 1024  # of Django's parser


def received(size: int) -> InMemoryUploadedFile:
    request: HttpRequest = RequestFactory().post("/", {"file": SimpleUploadedFile("a.bin", b"x" * size)})
    file = request.FILES["file"]
    assert isinstance(file, InMemoryUploadedFile)
    return file


@pytest.mark.parametrize("size", [0, 1, CHUNK, LIMIT])
def test_a_small_file_arrives_whole(size: int) -> None:
    file = received(size)
    assert (file.size, len(file.read())) == (size, size)


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT, 20 * LIMIT])
def test_of_a_large_file_the_size_is_told_and_little_is_kept(size: int) -> None:
    file = received(size)
    assert file.size == size
    assert LIMIT < len(file.read()) <= LIMIT + 2 * CHUNK
