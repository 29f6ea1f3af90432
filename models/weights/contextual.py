"""Action weights in the context of a visitor: which context a session is in, and a profile moved by its action weights."""

from typing import Final

import numpy as np

from models.arrays import Floats, Ints, Records, writeable
from models.events.encode import EventArray
from models.goal_weights import SOURCE, GoalWeights
from models.kernels import kernel
from models.weight_profile import WeightProfile, base_weights
from models.weights.actions import DAYPARTS, N_CELLS, ActionWeights

MOST_TILT: Final = float(np.log(1.25))
BASE: Final = base_weights()


def in_context(
    profile: WeightProfile, actions: ActionWeights | None, events: EventArray, p_intent: Floats, now_us: int
) -> WeightProfile:
    """A profile with the action weights of the visitor's context in it; the profile itself where there are none.

    Parameters
    ----------
    events
        The session so far, shape (n_events,).
    p_intent
        Shape (n_intents,).
    """
    if actions is None:
        return profile
    return applied(profile, actions.mean[code_at(events, p_intent, now_us)])


def tilt(ratio: Floats, goals: GoalWeights, mixture: Floats, p_intent: Floats) -> Floats:
    """Log factor by which live action weights move each event type under goal weights, shape (n_event_types,).

    At most `MOST_TILT` either way, and against what the session's intent says at most half of it: what intent raises or lowers
    stays raised or lowered.

    Parameters
    ----------
    ratio
        Of the action weights to the heuristic ones, > 0, shape (n_event_types,).
    """
    return tilted(ratio, goals.slopes, mixture, p_intent)


@kernel
def tilted(ratio: Floats, slopes: Floats, mixture: Floats, p_intent: Floats) -> Floats:
    found = np.empty(len(ratio))
    for kind in range(len(ratio)):
        of_intent = 0.0
        for goal in range(len(mixture)):
            for intent in range(len(p_intent)):
                of_intent += mixture[goal] * slopes[goal, SOURCE + kind, intent] * p_intent[intent]
        wanted = min(max(np.log(ratio[kind]), -MOST_TILT), MOST_TILT)
        if wanted * of_intent < 0.0:
            wanted = np.sign(wanted) * min(abs(wanted), abs(of_intent) / 2)
        found[kind] = wanted
    return found


def code_at(events: EventArray, p_intent: Floats, now_us: int) -> int:
    """Context of what the visitor of a session does next.

    Parameters
    ----------
    events
        The session so far, shape (n_events,).
    p_intent
        What it is about, shape (n_intents,); an empty session is fresh, whatever this says.
    now_us
        Tells the hour, in UTC, where the session is empty.
    """
    return int(context_code(writeable(events), p_intent, now_us))


@kernel
def context_code(events: Records, p_intent: Floats, now_us: int) -> int:
    segment, device, hour = 0, 0, now_us // 3_600_000_000 % 24
    if len(events):
        last = events[len(events) - 1]
        segment, device = 1 + int(p_intent.argmax()), int(last.device)
        hour = (last.occurred_at_us // 60_000_000 + last.utc_offset_min) // 60 % 24
    return segment * N_CELLS + device * len(DAYPARTS) + hour * len(DAYPARTS) // 24


def codes_at(newest: EventArray, p_intent: Floats) -> Ints:
    """`code_at` of many sessions that are not empty, shape (n_sessions,).

    Parameters
    ----------
    newest
        The last event of each, shape (n_sessions,).
    p_intent
        Shape (n_sessions, n_intents).
    """
    hour = (newest["occurred_at_us"] // 60_000_000 + newest["utc_offset_min"]) // 60 % 24
    segment, device = 1 + p_intent.argmax(axis=1), newest["device"].astype(np.int64)
    return np.asarray(segment * N_CELLS + device * len(DAYPARTS) + hour * len(DAYPARTS) // 24)


def applied(weighting: WeightProfile, w: Floats) -> WeightProfile:
    """A profile whose base weights move as far from its own as the action weights from the heuristic ones.

    Parameters
    ----------
    w
        Shape (n_event_types,), from `weights` or a row of `by_context`; or rows of that length, for as many bases.

    Examples
    --------
    >>> import numpy as np
    >>> from models.weight_profile import HEURISTIC
    >>> bool(np.allclose(applied(HEURISTIC, 2 * HEURISTIC.base).base, 2 * HEURISTIC.base))
    True
    """
    return weighting._replace(base=weighting.base * (w / BASE))
