"""Key path to line, over every form a TOML document can take."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from coordinator.config.places import key_lines, line_of

DOCUMENT = """\
# comment = "not a key"
name = "a [b] = c"  # x = 1
text = \"\"\"
fake = 1
[fake]
\\\"\"\" still
\"\"\"
literal = '''
[no]
'''

[table]
a.b.c = 1
"quoted.key" = [ 1, 2,
  { x = 1, y = "}" },   # z = 3
  "]",
]
inline = { p = 1, q = { r = [ 2 ] } }

[[many]]
v = 1
[[many]]
v = 2
[ "spaced" . key ]
when = 2020-01-01T00:00:00Z
"""


def test_every_key_has_its_line():
    tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT) == {
        ("name",): 2,
        ("text",): 3,
        ("literal",): 8,
        ("table",): 12,
        ("table", "a"): 13,
        ("table", "a", "b"): 13,
        ("table", "a", "b", "c"): 13,
        ("table", "quoted.key"): 14,
        ("table", "quoted.key", 0): 14,
        ("table", "quoted.key", 1): 14,
        ("table", "quoted.key", 2): 15,
        ("table", "quoted.key", 2, "x"): 15,
        ("table", "quoted.key", 2, "y"): 15,
        ("table", "quoted.key", 3): 16,
        ("table", "inline"): 18,
        ("table", "inline", "p"): 18,
        ("table", "inline", "q"): 18,
        ("table", "inline", "q", "r"): 18,
        ("table", "inline", "q", "r", 0): 18,
        ("many",): 20,
        ("many", 0): 20,
        ("many", 0, "v"): 21,
        ("many", 1): 22,
        ("many", 1, "v"): 23,
        ("spaced",): 24,
        ("spaced", "key"): 24,
        ("spaced", "key", "when"): 25,
    }


def test_the_innermost_known_part_stands_in():
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("table", "a", "x", "y")) == 13
    assert line_of(lines, ("nowhere",)) == 0


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(max_size=20), max_size=5))
def test_strings_never_confuse_the_scanner(table):
    # What json writes is a TOML basic string, but for the one control character that TOML wants escaped.
    import json

    lines = [f"{key} = {json.dumps(value)}".replace("\x7f", "\\u007f") for key, value in table.items()]
    text = "\n".join(lines)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # surrogates
    assert key_lines(text) == {(key,): number for number, key in enumerate(table, 1)}
