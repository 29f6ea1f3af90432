"""Worth of actions and of sequences of actions, as the evaluation report tells it."""

from collections.abc import Sequence

from msgspec import Struct

from flows.reports.structs import Interval, Spanned


class Weight(Struct, frozen=True):
    """Weight of one action: the one that serves, the heuristic one, and what it was learned from.

    `p` is the probability of a purchase within the horizon with its 95 % interval, `n` counts observations, faded; `fallback`
    says that these are too few.
    """

    event_type: str
    p: float
    low: float
    high: float
    prior: float
    weight: float
    n: float
    fallback: bool

    @property
    def n_seen(self) -> int:
        """Observations, rounded."""
        return round(self.n)

    @property
    def remark(self) -> str:
        """Reason why the learned weight does not serve."""
        return "too few: heuristic" if self.fallback else ""


class Action(Spanned, frozen=True):
    """One action in the chain: how often it was seen, how probably a session buys from there, and its removal effect.

    The removal effect, whose interval is told, is the share of the purchases that is lost where the action leads away instead.
    """

    event_type: str
    n: int
    p_purchase: float
    removal_effect: float


class Pair(Spanned, frozen=True):
    """Two actions in a row; `lift`, whose interval is told, is P(purchase) then over P(purchase) at a session's start."""

    before: str
    last: str
    n: int
    p_purchase: float
    lift: float


class Sequences(Struct, frozen=True):
    """Sessions as an absorbing Markov chain; `p_purchase` is the share that buys."""

    n_sessions: int
    p_purchase: float
    actions: Sequence[Action]
    pairs: Sequence[Pair]


class Actions(Struct, frozen=True):
    """Weights, each with the probability of a purchase within the horizon, and the chain; actions in the same order in both."""

    horizon_s: float
    weights: Sequence[Weight]
    sequences: Sequences
    causes: "Causes | None" = None


class Cause(Struct, frozen=True):
    """By how much one action moves a visitor to decide to buy, in log odds, shrunk and alone, with standard errors."""

    event_type: str
    cause: float
    sd: float
    unshrunk: float
    se: float
    heuristic: float
    on_the_way: bool = False

    @property
    def remark(self) -> str:
        """Reason why its error is too small."""
        return "on the way to buying: error too small" if self.on_the_way else ""

    @property
    def interval(self) -> Interval:
        """The cause with its 95 % interval."""
        return Interval(mean=self.cause, low=self.cause - 1.96 * self.sd, high=self.cause + 1.96 * self.sd)


class Causes(Struct, frozen=True):
    """Causes of purchases by action; no actions where there were too few purchases."""

    n_sessions: int
    n_purchases: int | None
    decay: float | None
    actions: Sequence[Cause]
