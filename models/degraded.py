"""Degraded answers: the fallbacks that an answer admits in its field `degraded`, one name each."""

from typing import Final

SESSION_EMPTY: Final = "session_empty"
INTENT_BY_RULES: Final = "intent_by_rules"
WEIGHTS_HEURISTIC: Final = "weights_heuristic"
ASSOCIATIONS_MISSING: Final = "associations_missing"
RANKER_MISSING: Final = "ranker_missing"
UNKNOWN_ITEM: Final = "unknown_item"
RECENT_ITEMS: Final = "recent_items"
NO_ITEMS_YET: Final = "no_items_yet"
FILLED_WITH_POPULAR: Final = "filled_with_popular"
NEXT_ACTION_MODEL_MISSING: Final = "next_action_model_missing"
ENGAGEMENT_BY_FORMULA: Final = "engagement_by_formula"
UNKNOWN_USER: Final = "unknown_user"
UNKNOWN_ITEM_FEATURES: Final = "unknown_item_features"
ONLINE_STORE_UNREACHABLE: Final = "online_store_unreachable"
HISTORY_UNKNOWN: Final = "history_unknown"
NO_CONSENT: Final = "no_consent"
CLOCK_AHEAD: Final = "clock_ahead"
HISTORY_CUT: Final = "history_cut"
ITEMS_GONE: Final = "items_gone"

REASONS: Final = {
    SESSION_EMPTY: "no event came with the request",
    INTENT_BY_RULES: "no intent model serves: the labelling rules answer instead",
    WEIGHTS_HEURISTIC: "no weight profile serves: the built-in table is used",
    ASSOCIATIONS_MISSING: "no association model serves: no items",
    RANKER_MISSING: "the ranker was asked for and none serves: the associations answer",
    UNKNOWN_ITEM: "the item asked about has never been seen",
    RECENT_ITEMS: "the session names no item: the user's items of before stand in",
    NO_ITEMS_YET: "nothing has been learned yet of what this partner sells: no items",
    FILLED_WITH_POPULAR: "associations gave too few items: popular ones follow",
    NEXT_ACTION_MODEL_MISSING: "no next-action model serves: every next action is as likely, nothing is predicted",
    ENGAGEMENT_BY_FORMULA: "no engagement score was learned: a formula over recent events and the predicted purchase answers",
    UNKNOWN_USER: "nothing is known about the user, or it is too old",
    UNKNOWN_ITEM_FEATURES: "nothing is known about the item, or it is too old",
    ONLINE_STORE_UNREACHABLE: "the online store did not answer",
    HISTORY_UNKNOWN: "what the visitor did before is not known, or it is too old: the session alone speaks",
    NO_CONSENT: "the visitor does not consent: the answer comes from the session that the request brought along",
    CLOCK_AHEAD: "the visitor's clock is ahead of ours: what it said has been moved back",
    HISTORY_CUT: "the visitor did more than is kept: the newest of it counts",
    ITEMS_GONE: "the catalogue no longer has some of the visitor's items: they speak for others, and are not shown",
}
# What fails nobody, in the order in which an answer tells it: such an answer is as good as any where variants
# are compared.
HARMLESS: Final = (CLOCK_AHEAD, HISTORY_UNKNOWN, HISTORY_CUT, ITEMS_GONE)
