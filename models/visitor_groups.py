"""Groups of visitors, as their shop names them: anonymous, of a fixed number, and none smaller than k (k-anonymity).

Whom a shop takes its visitors for (`models.schema.VISITOR_GROUPS`) may be as fine as a single person. So a group counts only if
it has `LEAST_USERS` visitors, and the largest `MOST_GROUPS` do; all others are pooled, and where the pool is too small it is
left out as well. Source: Sweeney, k-anonymity, 2002.

What models take of a group is not its name but an effect: by how much its visitors buy more or less than all do, in log odds,
partially pooled (beta-binomial, the strength by empirical Bayes: Gelman et al., "Bayesian Data Analysis", chapter 5). One
number per kind of group is enough for trees: ordered by what visitors of a group do on average, the best split of the groups
in two is among the splits of that order (Fisher, "On grouping for maximum homogeneity", 1958). A group that was not named when
a model was learned, or is too small, is as if nothing had been said.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Features, Flags, Floats, Floats32, Ints
from models.schema import VISITOR_GROUPS

LEAST_USERS: Final = 50
MOST_GROUPS: Final = 12
POOLED: Final = "all others"
Groups = tuple[str | None, ...]  # a name, or None, of each of `VISITOR_GROUPS`
NO_GROUPS: Final[Groups] = (None,) * len(VISITOR_GROUPS)
BETWEEN: Final = "\x1f"  # names that are kept as one text
_STRENGTHS: Final = (10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)  # visitors that "as all are" may be worth


def pooled(names: Sequence[str | None], least: int = LEAST_USERS, most: int = MOST_GROUPS) -> list[str | None]:
    """Group of each visitor; None where nothing may be said of it.

    Parameters
    ----------
    names
        As the shop names them, one per visitor; None where it does not.

    Examples
    --------
    >>> found = pooled(["new"] * 60 + ["vip"] * 40 + ["staff"] * 11 + [None])
    >>> sorted({(name, found.count(name)) for name in found}, key=str)
    [('all others', 51), ('new', 60), (None, 1)]
    >>> sorted(set(pooled(["new"] * 60 + ["vip"] * 10)), key=str)
    [None, 'new']
    """
    kept = set(counted(names, least, most))
    found: list[str | None] = [name if name is None or name in kept else POOLED for name in names]
    return found if found.count(POOLED) >= least else [None if name == POOLED else name for name in found]


def counted(names: Sequence[str | None], least: int = LEAST_USERS, most: int = MOST_GROUPS) -> list[str]:
    """Groups that may be told apart, the largest first.

    Examples
    --------
    >>> counted(["new"] * 60 + ["vip"] * 40 + [None] * 99)
    ['new']
    """
    counts = Counter(name for name in names if name is not None)
    return [name for name, n in counts.most_common(most) if n >= least]


def packed(groups: Groups) -> str | None:
    """Names as one text, or None where none is told.

    Examples
    --------
    >>> packed(("new", None, "b2b")), packed(NO_GROUPS)
    ('new\\x1f\\x1fb2b', None)
    """
    return BETWEEN.join(name or "" for name in groups) if any(groups) else None


def unpacked(text: str | None) -> Groups:
    """The names that `packed` put together; none where the text holds another number of them.

    Examples
    --------
    >>> unpacked("new\\x1f\\x1fb2b"), unpacked(None), unpacked("a\\x1fb") == NO_GROUPS
    (('new', None, 'b2b'), (None, None, None), True)
    """
    parts = text.split(BETWEEN) if text else []
    return tuple(part or None for part in parts) if len(parts) == len(VISITOR_GROUPS) else NO_GROUPS


class Named(NamedTuple):
    """Groups that rows are said to be of.

    Attributes
    ----------
    codes
        Place in `groups`, shape (n_rows,).
    groups
        The distinct ones.
    """

    codes: Ints
    groups: tuple[Groups, ...]

    def where(self, rows: Flags | Ints) -> "Named":
        """Some of the rows."""
        return Named(self.codes[rows], self.groups)


def named(told: Sequence[str | None] | npt.NDArray[np.object_], starts: Flags) -> Named | None:
    """Groups at each event: as they were told last in the session so far; None where nothing is told at all.

    Parameters
    ----------
    told
        Groups of each event, `packed`, shape (n_events,).
    starts
        First event of each session, shape (n_events,).

    Examples
    --------
    >>> found = named([None, "new\\x1f\\x1f", None, None], np.array([True, False, False, True]))
    >>> [found.groups[code][0] for code in found.codes]
    [None, 'new', 'new', None]
    """
    import pandas as pd  # only here: what serves reads no columns

    codes, texts = pd.factorize(np.asarray(told, dtype=object))
    if not len(texts):
        return None
    place = np.maximum.accumulate(np.where((codes >= 0) | starts, np.arange(len(codes)), 0))
    return Named(codes[place] + 1, (NO_GROUPS, *map(unpacked, texts)))


def groups_at(said: Named | None, row: int) -> Groups:
    """Groups at a row."""
    return NO_GROUPS if said is None else said.groups[int(said.codes[row])]


class GroupEffects(NamedTuple):
    """Effects of the groups that may be told apart: what models take of them.

    Attributes
    ----------
    by_kind
        Log odds by which visitors of a group buy more than all do, the largest group first, by one of `VISITOR_GROUPS`; kinds
        without two groups are left out.
    """

    by_kind: Mapping[str, Mapping[str, float]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that tell visitors apart: a column each."""
        return tuple(self.by_kind)

    def row(self, groups: Groups) -> Floats32:
        """Effect of each kind for a visitor, shape (n_kinds,); NaN where nothing may be told."""
        said = zip(VISITOR_GROUPS, groups, strict=True)
        return np.array(
            [self.by_kind[kind].get(name or "", np.nan) for kind, name in said if kind in self.by_kind], dtype=np.float32
        )

    def rows(self, said: Named | None, n: int) -> Floats32:
        """The same of n rows, shape (n, n_kinds).

        Examples
        --------
        >>> effects = GroupEffects({"segment": {"new": -0.5, "vip": 0.75}})
        >>> effects.rows(Named(np.array([1, 0]), (("vip", None, None), ("x", None, None))), 2).tolist()
        [[nan], [0.75]]
        """
        if said is None or not self.by_kind:
            return np.full((n, len(self.by_kind)), np.nan, dtype=np.float32)
        return np.asarray(np.array([self.row(one) for one in said.groups])[said.codes])

    def known(self, groups: Groups, most: int) -> str:
        """Name of the first kind's group, if it is one of the largest; else empty.

        Examples
        --------
        >>> effects = GroupEffects({"segment": {"new": -0.5, "vip": 0.75}})
        >>> [effects.known((name, None, None), 1) for name in ("new", "vip", None)]
        ['new', '', '']
        """
        for kind, effects in self.by_kind.items():
            name = groups[VISITOR_GROUPS.index(kind)]
            return name if name in list(effects)[:most] and name is not None else ""
        return ""


NOBODY_NAMED: Final = GroupEffects({})


def learned(said: Named | None, users: Ints, bought: Flags) -> GroupEffects:
    """Effects of the groups of a log; every visitor counts once, as of the newest event.

    Parameters
    ----------
    users
        Who did each event, shape (n_events,).
    bought
        Events that are purchases, shape (n_events,).
    """
    if said is None or not len(said.codes):
        return NOBODY_NAMED
    who, place = np.unique(users, return_inverse=True)
    newest, buys = np.zeros(len(who), dtype=np.int64), np.zeros(len(who), dtype=np.bool_)
    np.maximum.at(newest, place, np.where(said.codes > 0, np.arange(len(place)), 0))
    np.logical_or.at(buys, place, bought)
    groups = [said.groups[code] for code in said.codes[newest].tolist()]
    found = {kind: _effects([one[k] for one in groups], buys) for k, kind in enumerate(VISITOR_GROUPS)}
    return GroupEffects({kind: effects for kind, effects in found.items() if len(effects) > 1})


def coded(said: Sequence[Groups]) -> GroupEffects:
    """Codes instead of effects, from 0, of the groups of some visitors: for learners to whom a code is a name.

    Examples
    --------
    >>> coded([("new", None, None)] * 60 + [("vip", "x", None)] * 50 + [("staff", None, None)]).by_kind
    {'segment': {'new': 0.0, 'vip': 1.0}}
    """
    found = {kind: counted([one[k] for one in said]) for k, kind in enumerate(VISITOR_GROUPS)}
    return GroupEffects(
        {kind: {name: float(k) for k, name in enumerate(names)} for kind, names in found.items() if len(names) > 1}
    )


def beside(features: Features, said: Sequence[Groups]) -> tuple[Features, GroupEffects]:
    """Features with the codes of some visitors' groups in columns behind them, and the codes.

    Parameters
    ----------
    features
        Shape (n_visitors, n_features).
    said
        Of each visitor.
    """
    groups = coded(said)
    columns = np.array([groups.row(one) for one in said], dtype=np.float32).reshape(len(said), len(groups.kinds))
    return np.concatenate((features, columns), axis=1), groups


def _effects(names: Sequence[str | None], buys: Flags) -> dict[str, float]:
    """Effect of each group that may be told apart."""
    from scipy.special import logit  # only here: what serves learns nothing

    kept = counted(names)
    if not kept:
        return {}
    rows = [np.array([name == one for name in names], dtype=np.bool_) for one in kept]
    n, yes = (np.array([float(of.sum()) for of in some]) for some in (rows, [buys[row] for row in rows]))
    share = (buys.sum() + 1.0) / (len(buys) + 2.0)
    m = max(_STRENGTHS, key=lambda strength: (_likelihood(n, yes, share, strength), strength))
    effect = logit((yes + m * share) / (n + m)) - logit(share)
    return dict(zip(kept, effect.tolist(), strict=True))


def _likelihood(n: Floats, yes: Floats, share: float, strength: float) -> float:
    from scipy.special import betaln

    a, b = strength * share, strength * (1.0 - share)
    return float((betaln(a + yes, b + n - yes) - betaln(a, b)).sum())


def to_json(effects: GroupEffects) -> dict[str, list[tuple[str, float]]]:
    """The effects as a model's file holds them, in their order."""
    return {kind: list(of.items()) for kind, of in effects.by_kind.items()}


def from_json(kept: Mapping[str, Sequence[tuple[str, float]]] | None) -> GroupEffects:
    """The effects that `to_json` wrote; none of a file of before.

    Examples
    --------
    >>> some = GroupEffects({"segment": {"new": -0.5, "vip": 0.75}})
    >>> from_json(to_json(some)) == some, from_json(None) == NOBODY_NAMED
    (True, True)
    """
    return GroupEffects({kind: dict(kept[kind]) for kind in VISITOR_GROUPS if kind in kept} if kept else {})
