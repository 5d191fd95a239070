"""Lists: filtering, paging at one revision, and the past. From the watch cache where its recent events reach back
far enough, else from the store's history.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import orjson

from parkube.controlplane.registry.cache import ResourceCache
from parkube.controlplane.registry.options import ListOptions, ListResult
from parkube.controlplane.registry.stored import Stored
from parkube.controlplane.storage.port import Compacted, Store
from parkube.kubeapi.errors import BadRequest, Cause, Expired, Timeout

_STORE_PAGE = 500
_LATEST = -1  # the revision in a token that goes on with whatever is there now


class Continue:
    """The `continue` token: base64 of the revision (-1: the present one) and of the last key told."""

    @staticmethod
    def encode(revision: int, after: str) -> str:
        """The token after a page that ended with `after`."""
        return urlsafe_b64encode(orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": after})).decode()

    @staticmethod
    def decode(token: str, prefix: str) -> tuple[int, str]:
        """Revision and last key. Raises BadRequest."""
        try:
            content = orjson.loads(urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4)))
            revision, after = content["rv"], content["start"]
        except (Base64Error, ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"continue key is not valid: {error}") from None
        good = isinstance(revision, int) and (revision > 0 or revision == _LATEST)
        if not good or not isinstance(after, str) or not after.startswith(prefix):
            raise BadRequest("continue key is not valid: it is not one of this resource")
        return revision, after


def revision_of(text: str) -> int:
    """A resourceVersion as a number; 0 for an empty one. Raises BadRequest."""
    if not text:
        return 0
    if not text.isdecimal() or not text.isascii():
        raise BadRequest(f'invalid resource version "{text}": it must be a number')
    return int(text)


def too_large(asked: int, current: int) -> Timeout:
    """The answer for a revision that lies in the future, as reflectors know it."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    words = f"Too large resource version: {asked}, current: {current}"
    return Timeout(words, details={"retryAfterSeconds": 1}, causes=[cause])


def expired(asked: int, oldest: int) -> Expired:
    """The answer for a revision that is gone."""
    return Expired(f"too old resource version: {asked} ({oldest})")


def moment(options: ListOptions, prefix: str, current: int) -> tuple[int, str]:
    """The revision a list is asked for, and the key it goes on after. Raises BadRequest, Timeout."""
    match, asked = options.resource_version_match, revision_of(options.resource_version)
    if match not in ("", "Exact", "NotOlderThan"):
        raise BadRequest(f'invalid resourceVersionMatch "{match}": must be Exact or NotOlderThan')
    if match and not options.resource_version:
        raise BadRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if options.continue_:
        if match:
            raise BadRequest("resourceVersionMatch is forbidden when continue is provided")
        if asked:
            raise BadRequest("specifying resource version is not allowed when using continue")
        revision, after = Continue.decode(options.continue_, prefix)
        if revision > current:
            raise expired(revision, current)
        return current if revision == _LATEST else revision, after
    if match == "Exact" and not asked:
        raise BadRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    if asked > current:
        raise too_large(asked, current)
    exact = match == "Exact" or (not match and asked and options.limit)
    return (asked if exact else current), ""


async def page(cache: ResourceCache, store: Store, namespace: str, options: ListOptions, current: int) -> ListResult:
    """One page, as it is stored. Raises Expired, BadRequest, Timeout."""
    match = cache.matcher(namespace, options.label_selector, options.field_selector)
    revision, after = moment(options, cache.prefix, current)
    candidates: Iterable[Stored]
    if revision == current:
        candidates = cache.select(namespace, options.field_selector, after)
    elif revision < store.oldest:  # though the recent events may reach further back: one rule for all
        raise _gone(revision, store.oldest, after if options.continue_ else "")
    else:
        past = cache.as_of(revision)
        if past is not None:
            candidates = _rewound(cache, namespace, options, after, past)
        else:
            candidates = await _from_store(cache, store, namespace, after, revision, bool(options.continue_))
    found = iter(candidates) if match is None else filter(match, candidates)
    if not options.limit:
        return ListResult(list(found), revision)
    chosen = list(islice(found, options.limit))
    following = next(found, None)
    if following is None:
        return ListResult(chosen, revision)
    selective = not options.label_selector.empty or not options.field_selector.empty
    remaining = None if selective else 1 + sum(1 for _ in found)
    token = Continue.encode(revision, chosen[-1].key)
    return ListResult(chosen, revision, token, remaining)


def _rewound(
    cache: ResourceCache, namespace: str, options: ListOptions, after: str, past: dict[str, Stored | None]
) -> Iterator[Stored]:
    """The present with what changed since put back."""
    present = (item for item in cache.select(namespace, options.field_selector, after) if item.key not in past)
    if not past:
        return present
    back = (item for key, item in past.items() if item is not None and key > after)
    return iter(sorted(chain(present, back), key=lambda item: item.key))


async def _from_store(
    cache: ResourceCache, store: Store, namespace: str, after: str, revision: int, paging: bool
) -> list[Stored]:
    prefix = f"{cache.prefix}{namespace}/" if namespace and cache.namespaced else cache.prefix
    found: list[Stored] = []
    start = after
    try:
        while True:
            part = await store.range(prefix, after=after, limit=_STORE_PAGE, revision=revision)
            found.extend(cache.decode(item) for item in part.items)
            if not part.more:
                return found
            after = part.items[-1].key
    except Compacted as error:
        raise _gone(revision, error.oldest, start if paging else "") from None


def _gone(revision: int, oldest: int, after: str) -> Expired:
    """The answer for a page whose revision was compacted, with a token for the rest as it is now."""
    if not after:
        return expired(revision, oldest)
    return Expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        metadata={"continue": Continue.encode(_LATEST, after)},
    )
