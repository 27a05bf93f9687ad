"""TOML syntax errors in words for somebody who does not know TOML by heart."""

import re
import tomllib

from mailserver.mail.reply import printable

_CURLY = re.compile("= *[\u2018-\u201f\u00ab\u00bb]")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")
# What tomllib says -> what to tell; the first that fits. `{}` is what tomllib named, if it did.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"Cannot overwrite a value", "this key is set a second time; each may stand once"),
    (r"Duplicate inline table key '(.*)'", "the key {} is set a second time; each may stand once"),
    (r"Cannot declare \((.*?),?\) twice", "the table [{}] begins a second time; put its keys into one"),
    (
        r"Cannot mutate immutable namespace|Cannot redefine namespace",
        "this key belongs to a table that is complete already",
    ),
    (r"Expected '=' after a key", "a key is followed by = and a value"),
    (
        r"Invalid initial character for a key part|Invalid statement",
        "a line is a key with its value, a [table], or a # comment",
    ),
    (
        r"Expected newline or end of document after a statement",
        "there is more on this line than one value; text needs quotes",
    ),
    (r"Invalid value", "the value is missing or not understood; text needs quotes"),
    (r"Unclosed array", "a list is not closed with ], or a comma between its values is missing"),
    (r"Unclosed inline table|Expected newline after .*", "a { table } is not closed on its line"),
    (r"Expected ']+' at the end of a(?:n array)? (?:table )?declaration", "a [table] is not closed with ]"),
    (r"Unterminated string|Illegal character '(?:\\n|\\r)'", "a text is not closed with its second quote"),
    (r"Unescaped '\\' in a string", "after \\ only certain letters may follow; use 'single quotes' for a text with \\"),
    (r"Illegal character (.*)", "the character {} may not stand here"),
    (
        r"Hex value too.*|Invalid hex value|Escaped character is not a Unicode scalar value",
        "the \\u escape is not a character",
    ),
    (r"Expected .*", "something is missing here"),
)


def syntax_error(error: tomllib.TOMLDecodeError, text: str, *, shows_line: bool = True) -> str:
    """`line 3, column 5: not valid TOML: ...`, and the line itself.

    A line about a password is not shown, and none at all without `shows_line`.
    """
    message = str(error)
    place = _PLACE.search(message)
    what = _in_our_words(_PLACE.sub("", message))
    if place is None or place[1] is None:
        return "at the end of the file: not valid TOML: the last value, list or table is not finished"
    number = int(place[1])
    # Not splitlines(): that ends lines at more characters than TOML does.
    lines = text.split("\n")
    line = printable(lines[number - 1].strip()) if number <= len(lines) else ""
    if not shows_line or "password" in line.lower():
        line = ""
    if _CURLY.search(line):
        # What word processors and web pages make of quotes.
        what += ', and those are straight: "'
    return f"line {number}, column {place[2]}: not valid TOML: {what}: {line[:80]}".removesuffix(": ")


def _in_our_words(message: str) -> str:
    for pattern, words in _WORDS:
        found = re.match(pattern, message)
        if found:
            named = (found[1] or "") if found.re.groups else ""
            return words.replace("{}", printable(named.replace("', '", ".").strip("'")))
    return printable(message)
