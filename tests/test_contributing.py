"""CONTRIBUTING: each worked example does what it says, on top of those before it."""

from __future__ import annotations

import pytest

from tests.documents import ROOT, Examples, blocks

BLOCKS = blocks(ROOT / "CONTRIBUTING.md")
HEADINGS = list(dict.fromkeys(block.heading for block in BLOCKS if block.language == "console"))


def test_what_is_shown():
    assert HEADINGS == ["An instruction", "An extension", "A policy", "An environment", "A config key"]


@pytest.mark.parametrize("heading", HEADINGS)
def test_example(heading, tmp_path):
    sections = HEADINGS[: HEADINGS.index(heading) + 1]
    with Examples(tmp_path) as examples:
        for block in BLOCKS:
            if block.heading == heading or (block.heading in sections and block.language != "console"):
                examples.carry_out(block)
