"""What malloc has given out."""

import ctypes

import pytest

from api.allocated import allocated_bytes

GLIBC = allocated_bytes() is not None


@pytest.mark.skipif(not GLIBC, reason="glibc's count")
@pytest.mark.parametrize("size", [4000, 1 << 24])
def test_it_counts_what_is_held(size: int) -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = allocated_bytes()
    held = [libc.malloc(size) for _ in range(20)]
    between = allocated_bytes()
    for each in held:
        libc.free(each)
    after = allocated_bytes()
    assert before is not None
    assert between is not None
    assert after is not None
    assert between - before >= 20 * size
    assert between - after > 18 * size
