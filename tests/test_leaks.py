"""Memory, objects and references stay level, on the master and on the workers."""

import pytest
from launch import check

# Above this glibc would give memory back at once, and the resident size would jump.
ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("maps", 10_000),
        ("buffers", 2000),
        ("failures", 5000),
        ("pools", 5000),
        ("waits", 5000),
        ("submits", 1500),
        ("iterations", 1500),
        ("checkpoints", 500),
        ("progress", 1000),
        ("callbacks", 1500),
        ("shares", 1500),
        ("statuses", 1500),
        ("hooks", 1500),
    ],
)
def test_nothing_is_left_behind(what, count):
    check("leaks.py", 3, what, count, timeout=400, env=ENVIRONMENT)
