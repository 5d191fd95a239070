"""From a DNS query's bytes to its answer's: cluster names from the directory, everything else handed upstream.

Source: RFC 1034, 1035 (messages), 2308 (negative answers), 2782 (SRV), 6891 (payload size), 8020 (NXDOMAIN).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from parkube.nodeagent.network.dns.records import TTL_S, Directory, Found, Record, find, owns, reverse

Upstream = Callable[[bytes, bool], Awaitable[bytes | None]]
"""(query, over TCP) -> the answer of a server above, None when there is none."""
_PLAIN_PAYLOAD, _MOST_PAYLOAD = 512, 1232
_MAX_CHAIN = 4  # names that one ExternalName may lead through inside the cluster


async def answer(query: bytes, directory: Directory, upstream: Upstream, *, tcp: bool) -> bytes | None:
    """The answer to send; None where the bytes deserve none."""
    try:
        asked = dns.message.from_wire(query)
    except (dns.exception.DNSException, ValueError):
        return _malformed(query)
    if asked.flags & dns.flags.QR:
        return None
    if asked.opcode() != 0 or len(asked.question) != 1:
        return _refused(asked, dns.rcode.NOTIMP)
    question = asked.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(question.rdtype)
    if question.rdclass != dns.rdataclass.IN:
        return await _above(asked, query, upstream, tcp)
    if name.endswith(".in-addr.arpa") and kind in ("PTR", "ANY") and (found := reverse(directory, name)).exists:
        return _wire(asked, directory, found, (), tcp)
    if not owns(directory.domain, name):
        return await _above(asked, query, upstream, tcp)
    found = find(directory, name, kind)
    more: tuple[dns.rrset.RRset, ...] = ()
    if found.answers and found.answers[-1].type == "CNAME" and kind not in ("CNAME", "ANY"):
        found, more = await _follow(directory, found, question.rdtype, upstream)
    return _wire(asked, directory, found, more, tcp)


async def _follow(
    directory: Directory, found: Found, kind: dns.rdatatype.RdataType, upstream: Upstream
) -> tuple[Found, tuple[dns.rrset.RRset, ...]]:
    """What the other name means: one of ours, or what a server above says of it, if anything."""
    answers = list(found.answers)
    for _ in range(_MAX_CHAIN):
        target = answers[-1].data.rstrip(".").lower()
        if not owns(directory.domain, target):
            said = await upstream(dns.message.make_query(target, kind).to_wire(), False)
            try:
                sets = dns.message.from_wire(said).answer if said else []
            except (dns.exception.DNSException, ValueError):
                sets = []
            return Found(True, tuple(answers)), tuple(sets)
        further = find(directory, target, dns.rdatatype.to_text(kind))
        answers += further.answers
        if not further.answers or further.answers[-1].type != "CNAME":
            break
    return Found(True, tuple(answers)), ()


async def _above(asked: dns.message.Message, query: bytes, upstream: Upstream, tcp: bool) -> bytes:
    said = await upstream(query, tcp)
    return said if said is not None else _refused(asked, dns.rcode.SERVFAIL)


def _refused(asked: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    reply = dns.message.make_response(asked, recursion_available=True)
    reply.set_rcode(code)
    return reply.to_wire()


def _malformed(query: bytes) -> bytes | None:
    if len(query) < 12 or query[2] & 0x80:
        return None
    return query[:2] + bytes((0x80 | query[2] & 0x79, int(dns.rcode.FORMERR))) + bytes(8)


def _wire(
    asked: dns.message.Message, directory: Directory, found: Found, more: Iterable[dns.rrset.RRset], tcp: bool
) -> bytes:
    reply = dns.message.make_response(asked, recursion_available=True)
    reply.flags |= dns.flags.AA
    answers = list(found.answers)
    if answers and answers[0].type == "A":
        random.shuffle(answers)  # clients take the first
    reply.answer = [*_sets(answers), *more]
    reply.additional = _sets(found.extra)
    if not found.exists:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    if not reply.answer:
        soa = f"ns.dns.{directory.domain}. hostmaster.{directory.domain}. 1 7200 1800 86400 {TTL_S}"
        reply.authority = _sets([Record(directory.domain, "SOA", soa)])
    limit = 65535 if tcp else min(_MOST_PAYLOAD, max(_PLAIN_PAYLOAD, asked.payload if asked.edns >= 0 else 0))
    try:
        return reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.additional = []
    try:
        return reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.answer, reply.authority = [], []
        reply.flags |= dns.flags.TC
        return reply.to_wire()


def _sets(records: Iterable[Record]) -> list[dns.rrset.RRset]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for record in records:
        grouped.setdefault((record.name, record.type), []).append(record.data)
    return [dns.rrset.from_text_list(f"{name}.", TTL_S, "IN", kind, data) for (name, kind), data in grouped.items()]
