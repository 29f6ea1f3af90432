"""Catalogue of the simulated shop: items in categories, with prices, popularity, substitutes and complements."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Ints

N_SUBSTITUTES: Final = 8
N_COMPLEMENTS: Final = 5
_ZIPF_EXPONENT: Final = 0.9
_NAMES: Final = (
    "shoes", "jackets", "trousers", "shirts", "bags", "watches", "phones", "laptops", "headphones", "cameras",
    "kitchen", "furniture", "lamps", "garden", "tools", "toys", "books", "sports", "bicycles", "beauty",
)  # fmt: skip


class Catalogue(NamedTuple):
    """Items sorted by category; an item is its row.

    Attributes
    ----------
    category
        Category of each item, shape (n_items,), ascending.
    first
        First item of each category and, last, the number of items, shape (n_categories + 1,).
    price
        In the shop's currency, shape (n_items,).
    price_position
        log(price / the category's usual price), shape (n_items,).
    appeal
        Log odds by which an item sells better than its looks say, shape (n_items,).
    cumulated
        Running sum of popularity, led by 0, shape (n_items + 1,); popularity itself is Zipf-like.
    substitutes
        Same category, close in price, shape (n_items, N_SUBSTITUTES); an item may stand there twice.
    complements
        From the categories that go with the item's own, shape (n_items, N_COMPLEMENTS).
    """

    category: Ints
    first: Ints
    price: Floats
    price_position: Floats
    appeal: Floats
    cumulated: Floats
    substitutes: Ints
    complements: Ints


def build(n_items: int, n_categories: int, sd_appeal: float, rng: np.random.Generator) -> Catalogue:
    """Draw a catalogue.

    Parameters
    ----------
    n_items
        At least two per category.
    sd_appeal
        Spread of the hidden appeal, log odds.
    """
    spare = rng.multinomial(n_items - 2 * n_categories, rng.dirichlet(np.full(n_categories, 3.0)))
    first = np.concatenate([[0], np.cumsum(spare + 2)]).astype(np.int64)
    category = np.repeat(np.arange(n_categories), np.diff(first))
    usual = np.exp(rng.normal(np.log(45.0), 0.8, n_categories))
    whole = np.round(usual[category] * np.exp(rng.normal(0.0, 0.45, n_items)))
    price: Floats = np.asarray(np.round(np.maximum(whole - 0.01, 0.99), 2), dtype=np.float64)
    popularity: Floats = np.asarray((rng.permutation(n_items) + 3.0) ** -_ZIPF_EXPONENT, dtype=np.float64)
    return Catalogue(
        category,
        first,
        price,
        np.log(price / usual[category]),
        rng.normal(0.0, sd_appeal, n_items),
        np.concatenate([[0.0], np.cumsum(popularity)]),
        _substitutes(category, first, price, rng),
        _complements(category, first, popularity, rng),
    )


def _substitutes(category: Ints, first: Ints, price: Floats, rng: np.random.Generator) -> Ints:
    """Draw neighbours in the category's price order, never the item itself."""
    n = len(category)
    in_order = np.lexsort((price, category))
    place = np.empty(n, dtype=np.int64)
    place[in_order] = np.arange(n)
    low, high = first[category][:, None], first[category + 1][:, None]
    step = rng.integers(1, 7, (n, N_SUBSTITUTES)) * rng.choice(np.array([-1, 1]), (n, N_SUBSTITUTES))
    target = low + (place[:, None] + step - low) % (high - low)  # wraps round inside the category
    target = np.where(target == place[:, None], low + (target + 1 - low) % (high - low), target)
    chosen: Ints = in_order[target]
    return chosen


def _complements(category: Ints, first: Ints, popularity: Floats, rng: np.random.Generator) -> Ints:
    """Draw popular items of two categories that go with the item's own."""
    n_categories = len(first) - 1
    steps = rng.permutation(np.arange(1, max(n_categories, 2)))[:2]
    partner = (np.arange(n_categories)[:, None] + steps) % n_categories
    side = rng.integers(0, partner.shape[1], (len(category), N_COMPLEMENTS))
    wanted = partner[category[:, None], side]
    cumulated = np.concatenate([[0.0], np.cumsum(popularity)])
    low, high = cumulated[first[wanted]], cumulated[first[wanted + 1]]
    found = np.searchsorted(cumulated, low + rng.random(wanted.shape) * (high - low), side="right") - 1
    chosen: Ints = np.clip(found, first[wanted], first[wanted + 1] - 1)
    return chosen


def item_ids(n_items: int) -> npt.NDArray[np.object_]:
    """Names of the items, shape (n_items,)."""
    return np.array([f"sku-{i:05d}" for i in range(n_items)], dtype=object)


def category_names(n_categories: int) -> npt.NDArray[np.object_]:
    """Names of the categories, shape (n_categories,).

    Examples
    --------
    >>> category_names(21)[[0, 20]].tolist()
    ['shoes', 'category-20']
    """
    return np.array([_NAMES[c] if c < len(_NAMES) else f"category-{c}" for c in range(n_categories)], dtype=object)
