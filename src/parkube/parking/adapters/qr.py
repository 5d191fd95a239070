"""A grant as a QR code, in SVG that a page can put in as it is."""

from __future__ import annotations

import io

import segno


def qr_svg(text: str) -> str:
    """An inline SVG without a size of its own: the page gives it one."""
    out = io.BytesIO()
    code = segno.make_qr(text, error="m", boost_error=False)
    code.save(out, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=4, light="#fff")
    return out.getvalue().decode()
