"""What people have in place of a file without knowing it: a pointer of Git LFS, or the page of an error."""

from __future__ import annotations

BEGINNING = 512
"""Bytes that tell."""

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b'<?xml version="1.0" encoding="utf-8"?><error>')


def instead(data: bytes) -> str:
    """What a file is by its first bytes, and the way out, for the end of a sentence; empty if it is none of these."""
    if data.startswith(_LFS):
        return "a pointer of Git LFS and not the file: `git lfs pull` in its folder fetches that"
    if data[:BEGINNING].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page that was saved in place of the file: download it again, and look at what comes"
    return ""
