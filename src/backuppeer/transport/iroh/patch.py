"""Makes writes fast: replaces one method of iroh's generated binding, if it is still the slow one.

Knows: the buffer builder of uniffi 0.31 inside `iroh.iroh_ffi`. Must not know: endpoints, streams.

The generated code copies byte arguments one at a time in a Python loop: 4 MiB/s, with the event loop blocked (iroh-ffi
issue 229, fixed in uniffi 0.32). The replacement reserves once and copies with memmove: 200 to 280 MiB/s. A release
whose method looks different is left alone; the test that counts the steps of a 1 MiB write says whether it is fast.
"""

import ctypes
from types import FunctionType
from typing import Any

from iroh import iroh_ffi

Buffer = bytes | bytearray | memoryview


def is_slow_write(method: object) -> bool:
    """Return whether `method` is the loop over single bytes that uniffi 0.31 generates."""
    return isinstance(method, FunctionType) and {"enumerate", "_reserve", "rbuf", "data"} <= set(
        method.__code__.co_names
    )


def install_fast_write() -> bool:
    """Replace the slow method; return whether that was done (False: another release, or done before)."""
    builder = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
    if builder is None or not is_slow_write(vars(builder).get("write")):
        return False
    builder.write = _write
    return True


def _write(builder: Any, value: Buffer) -> None:
    """Append `value` to the builder's buffer with one copy."""
    size = len(value)
    if not size:
        return
    with builder._reserve(size):  # noqa: SLF001 - the generated class has no public way in
        rbuf = builder.rbuf
        # memmove stays inside the buffer: _reserve has just made capacity >= len + size.
        ctypes.memmove(ctypes.addressof(rbuf.data.contents) + rbuf.len, _source(value), size)


def _source(value: Buffer) -> Any:
    """Return what memmove can read from, without a copy where ctypes allows it (bytes, writable buffers)."""
    if isinstance(value, bytes):
        return value
    view = memoryview(value)
    if view.readonly or not view.c_contiguous:
        return bytes(view)
    return ctypes.byref(ctypes.c_char.from_buffer(view))
