"""Checks that hold for the standard library's pools and executors, and for ours."""
