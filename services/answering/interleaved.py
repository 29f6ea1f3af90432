"""Interleaved lists: associations and ranker take turns in one answer, and the decision remembers whose item is whose."""

from collections.abc import Callable
from hashlib import blake2b

import msgspec
import numpy as np

from models.ranking.interleaving import FIRST, team_draft
from services import wire


def in_turns(
    request: wire.RecommendationRequest, ask: Callable[[wire.RecommendationRequest], list[wire.RankedItem]], decision_id: str
) -> tuple[list[wire.RankedItem], str]:
    """Ask both and draft one list; the same decision id gives the same draft.

    Parameters
    ----------
    ask
        Answers a request with its list: the associations', or the ranker's where the request asks for it.

    Returns
    -------
    The items, each with the score and reasons of the side that picked it, and a character per item that says whose it is
    (`models.ranking.interleaving`).
    """
    lists = [ask(msgspec.structs.replace(request, ranker=ranker)) for ranker in (False, True)]
    first, second = ({item.item_id: item for item in one} for one in lists)
    seed = int.from_bytes(blake2b(decision_id.encode(), digest_size=8).digest(), "big")
    draft = team_draft(list(first), list(second), request.limit, np.random.default_rng(seed))
    sides = ((first if team == FIRST or item not in second else second) for item, team in zip(*draft, strict=True))
    return [side[item] for item, side in zip(draft.items, sides, strict=True)], draft.teams
