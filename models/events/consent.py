"""Consent: when nothing about a visitor may be kept, and nothing that was kept may be read.

Two signs say no: ``context.consent`` of an event or session that is ``false``, and the request header ``Sec-GPC: 1``, which
browsers with Global Privacy Control send. A visitor of whom neither is said is taken to consent, as the partner answers for it.

Source: W3C, Global Privacy Control, section 3; Segment, "Consent in Segment", for the object form of ``context.consent``.
"""

from collections.abc import Mapping
from typing import Any, Final

GPC: Final = "sec-gpc"  # request header
REASON: Final = "the visitor does not consent"


def is_opted_out(headers: Mapping[str, str]) -> bool:
    """Whether the browser says so.

    Examples
    --------
    >>> is_opted_out({"sec-gpc": "1"}), is_opted_out({"sec-gpc": "0"}), is_opted_out({})
    (True, False, False)
    """
    return headers.get(GPC, "").strip() == "1"


def is_refused(event: Mapping[str, Any]) -> bool:
    """Whether an event says that its visitor does not consent; what is neither yes nor no counts as no.

    Segment's object counts as no where no category is consented to.

    Examples
    --------
    >>> [is_refused({"context": {"consent": given}}) for given in (True, None, False, "no")]
    [False, False, True, True]
    >>> is_refused({"context": {"consent": {"categoryPreferences": {"Advertising": False, "Analytics": True}}}})
    False
    >>> is_refused({"context": "mobile"}), is_refused({})
    (False, False)
    """
    context = event.get("context")
    given = context.get("consent") if isinstance(context, dict) else None
    if isinstance(given, dict) and isinstance(given.get("categoryPreferences"), dict):
        return not any(answer is True for answer in given["categoryPreferences"].values())
    return given is not None and given is not True
