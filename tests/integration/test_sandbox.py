"""The private services: they work, they are private, and nothing of them stays behind."""

from __future__ import annotations

from worker.sandbox import packages


def test_what_is_there_is_not_installed_again():
    said: list[str] = []
    assert packages.ensure("dpkg", say=said.append) == []
    assert said == []
