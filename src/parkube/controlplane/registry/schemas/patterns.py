"""Go's regular expressions (RE2) in Python's: schemas are written for the one and checked by the other.

They differ in inline flags, the end of the text, POSIX and Unicode classes, quoting, and in what RE2 leaves out
(look-around, back-references), which is refused here as Go refuses it. Matching itself is `re`'s.
Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re

_POSIX = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t-\r ",
    "upper": "A-Z", "word": r"\w", "xdigit": "0-9a-fA-F",
}  # fmt: skip
_UNICODE = {"L": r"[^\W\d_]", "N": r"\d", "Nd": r"\d"}
_FLAGS = re.compile(r"\(\?([ims]*)(?:-[imsU]+)?\)")
_GROUP = re.compile(r"\(\?(?:P?<(?P<name>[A-Za-z_]\w*)>|(?P<flags>[ims]*):)")
_CLASS_NAME = re.compile(r"\[:(\^?)(\w+):\]")
_UNICODE_NAME = re.compile(r"\\p(?:\{(\w+)\}|(\w))")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled; use `search`. Raises `re.error` for what Go would refuse or Python cannot do."""
    return re.compile(_Translation(pattern).run())


class _Translation:
    """One walk over a pattern. `open_` holds, for each group that is open, the inline flags set inside it."""

    def __init__(self, pattern: str) -> None:
        self.text, self.at = pattern, 0
        self.out: list[str] = []
        self.open_: list[list[str]] = [[]]

    def run(self) -> str:
        while self.at < len(self.text):
            char = self.text[self.at]
            step = _STEPS.get(char)
            if step is None:
                self.out.append(char)
                self.at += 1
            else:
                step(self)
        return "".join([*self.out, ")" * len(self.open_[0])])

    def escape(self) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following == "Q":
            end = self.text.find(r"\E", self.at)
            end = len(self.text) if end < 0 else end
            self.out.append(re.escape(self.text[self.at + 2 : end]))
            self.at = end + 2
            return
        if following.isdigit() and following != "0":
            raise re.error(f"invalid escape sequence: `\\{following}`", self.text, self.at)
        unicode = _UNICODE_NAME.match(self.text, self.at)
        if unicode is not None:
            members = _UNICODE.get(unicode[1] or unicode[2])
            if members is None:
                raise re.error(f"character class {unicode[0]} is not in this version", self.text, self.at)
            self.out.append(members)
            self.at = unicode.end()
            return
        self.out.append(r"\Z" if following == "z" else f"\\{following}")
        self.at += 2

    def members(self) -> None:
        """A class in brackets, up to its end."""
        start = self.at
        self.out.append("[")
        self.at += 1
        if self.text.startswith("^", self.at):
            self.out.append("^")
            self.at += 1
        first = True
        while self.at < len(self.text) and (self.text[self.at] != "]" or first):
            first = False
            named = _CLASS_NAME.match(self.text, self.at)
            if named is not None and named[2] in _POSIX and not named[1]:
                self.out.append(_POSIX[named[2]])
                self.at = named.end()
            elif self.text[self.at] == "\\":
                self.out.append(self.text[self.at : self.at + 2])
                self.at += 2
            else:
                # Python warns of set operations to come; RE2 has none
                self.out.append(("\\" if self.text[self.at] in "[]&~|" else "") + self.text[self.at])
                self.at += 1
        if self.at >= len(self.text):
            raise re.error("missing closing ]", self.text, start)
        self.out.append("]")
        self.at += 1

    def group(self) -> None:
        flags = _FLAGS.match(self.text, self.at)
        if flags is not None:
            if flags[1]:
                self.open_[-1].append(f"(?{flags[1]}:")
                self.out.append(self.open_[-1][-1])
            self.at = flags.end()
            return
        if self.text.startswith("(?", self.at):
            known = _GROUP.match(self.text, self.at)
            if known is None:
                raise re.error(
                    f"invalid or unsupported Perl syntax: `{self.text[self.at : self.at + 3]}`", self.text, self.at
                )
            self.out.append(f"(?P<{known['name']}>" if known["name"] else known[0])
            self.at = known.end()
        else:
            self.out.append("(")
            self.at += 1
        self.open_.append([])

    def close(self) -> None:
        if len(self.open_) == 1:
            raise re.error("unexpected )", self.text, self.at)
        self.out.append(")" * len(self.open_.pop()) + ")")
        self.at += 1

    def either(self) -> None:
        """Flags set inside a group hold in its later alternatives as well."""
        flags = self.open_[-1]
        self.out.append(")" * len(flags) + "|" + "".join(flags))
        self.at += 1

    def end(self) -> None:
        multiline = any("m" in flags for group in self.open_ for flags in group)
        self.out.append("$" if multiline else r"\Z")
        self.at += 1


_STEPS = {
    "\\": _Translation.escape, "[": _Translation.members, "(": _Translation.group, ")": _Translation.close,
    "|": _Translation.either, "$": _Translation.end,
}  # fmt: skip
