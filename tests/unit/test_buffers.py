"""Buffers to receive into."""

from __future__ import annotations

import ctypes

import pytest

from shared.adapters.buffers import buffer


@pytest.mark.parametrize("size", [0, 1, 100_000, 128 * 1024, 2 * 1024 * 1024, 8 * 1024 * 1024 + 1])
def test_a_buffer_has_its_size_and_can_be_written(size: int) -> None:
    """A byte too few would be a byte lost."""
    room = buffer(size)
    room[:] = b"x" * size

    assert len(room) == size
    assert bytes(room[-1:]) == b"x"[: min(size, 1)]


def test_a_large_buffer_does_not_begin_where_copying_is_slow() -> None:
    """Sixteen bytes into a page, where malloc puts it, the kernel copies at a quarter of the speed."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer(2 * 1024 * 1024)))

    assert address % 4096 == 1024
