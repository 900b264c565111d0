"""How the C library of this process treats memory that is freed."""

from __future__ import annotations

import ctypes
import platform

# numbers of the options, from glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = -1


def keep_freed_memory() -> bool:
    """Lets malloc keep what is freed for the next request, rather than return it to the system; returns whether it can.

    By default glibc maps each large block anew and unmaps it when it is freed. The feature maps of every step then are
    new pages, which the kernel fills with zeros first. M_MMAP_MAX = 0 takes large blocks from the heap too, and
    M_TRIM_THRESHOLD = -1 never shrinks it, so memory in use stays at its peak. No computed bit depends on it. To be
    called before a framework is imported, as a block stays where it was allocated. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
