"""What a proxied answer must have changed so that its reader's next request comes back through the proxy. Pure.

Redirects to the proxied host and links of HTML pages that begin at its root get the proxy's own path in front. Source:
Kubernetes documentation, "Proxies in Kubernetes" and "Access services running on clusters".
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

# Attributes whose value is a URL, by element. Source: HTML Living Standard, index of attributes.
_LINKS: dict[str, frozenset[str]] = {
    "a": frozenset({"href"}), "area": frozenset({"href"}), "audio": frozenset({"src"}), "base": frozenset({"href"}),
    "blockquote": frozenset({"cite"}), "button": frozenset({"formaction"}), "del": frozenset({"cite"}),
    "embed": frozenset({"src"}), "form": frozenset({"action"}), "iframe": frozenset({"src"}),
    "img": frozenset({"src", "longdesc"}), "input": frozenset({"src", "formaction"}), "ins": frozenset({"cite"}),
    "link": frozenset({"href"}), "object": frozenset({"data"}), "q": frozenset({"cite"}),
    "script": frozenset({"src"}), "source": frozenset({"src"}), "track": frozenset({"src"}),
    "video": frozenset({"src", "poster"}),
}  # fmt: skip
_TAG = re.compile(rb"<([A-Za-z][A-Za-z0-9]*)(\s[^<>]*)>")
_ATTRIBUTE = re.compile(rb"(\s)([A-Za-z-]+)(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")


def link(url: str, host: str, prefix: str) -> str:
    """`url` of an answer from `host`, as the proxy's client must ask for it; unchanged where it leads elsewhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if (parts.netloc and parts.netloc != host) or not parts.path.startswith("/"):
        return url
    if parts.path == prefix or parts.path.startswith(prefix + "/"):
        return url
    return urlunsplit(("", "", prefix + parts.path, parts.query, parts.fragment))


def page(html: bytes, host: str, prefix: str) -> bytes:
    """An HTML page with its links through the proxy; all else stays byte for byte."""

    def tag(found: re.Match[bytes]) -> bytes:
        wanted = _LINKS.get(found[1].decode().lower())
        if not wanted:
            return found[0]

        def attribute(one: re.Match[bytes]) -> bytes:
            if one[2].decode().lower() not in wanted:
                return one[0]
            quote = one[4][:1] if one[4][:1] in (b'"', b"'") else b""
            value = one[4].strip(quote) if quote else one[4]
            fresh = link(value.decode("latin-1"), host, prefix).encode("latin-1")
            return b"".join((one[1], one[2], one[3], quote, fresh, quote))

        return b"<" + found[1] + _ATTRIBUTE.sub(attribute, found[2]) + b">"

    return _TAG.sub(tag, html)
