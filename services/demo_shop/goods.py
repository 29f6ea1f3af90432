"""Goods of the demo shop: the simulator's items with what people read, all of it following from the item's number.

The numbers, categories and prices are those of `models.simulator`, so that what the simulated visitors did is
about these goods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from models.simulator import ShopConfig
from models.simulator.catalogue import build, category_names, item_ids

N_REVIEWS: Final = 3
_BRANDS: Final = ("Arden", "Boreal", "Cobalt", "Dorset", "Elmwood", "Fjell", "Gansey", "Harrow", "Isla", "Juniper")
_MOODS: Final = ("Classic", "Light", "Studio", "Trail", "City", "Weekend", "Compact", "Heritage", "Active", "Nordic")
_ONE: Final = {
    "shoes": "sneaker", "jackets": "jacket", "trousers": "chinos", "shirts": "shirt", "bags": "backpack", "watches": "watch",
    "phones": "phone", "laptops": "laptop", "headphones": "headphones", "cameras": "camera", "kitchen": "saucepan",
    "furniture": "armchair", "lamps": "lamp", "garden": "planter", "tools": "hammer", "toys": "robot", "books": "novel",
    "sports": "ball", "bicycles": "bicycle", "beauty": "serum",
}  # fmt: skip
_WORN: Final = (("Material", ("cotton", "wool", "linen", "recycled nylon")), ("Fit", ("slim", "regular", "relaxed")))
_DEVICE: Final = (("Battery", ("12 h", "18 h", "24 h", "36 h")), ("Storage", ("64 GB", "128 GB", "256 GB")))
_THING: Final = (("Material", ("oak", "steel", "aluminium", "ceramic")), ("Made in", ("Portugal", "Finland", "Italy", "Wales")))
_SPECS: Final = {
    **dict.fromkeys(("shoes", "jackets", "trousers", "shirts", "bags"), _WORN),
    **dict.fromkeys(("watches", "phones", "laptops", "headphones", "cameras"), _DEVICE),
}
_COLOURS: Final = ("sand", "moss", "slate", "rust", "navy", "plum", "chalk", "amber")
_OPENINGS: Final = (
    "Bought it for a trip and it went everywhere.", "Second one I own, the first still works.", "Smaller than I thought.",
    "Exactly as shown.", "My sister wanted the same at once.", "Took a week to get used to.", "Worth waiting for.",
)  # fmt: skip
_VERDICTS: Final = (
    "Would buy again.", "The finish could be better.", "Feels solid.", "Good value at this price.", "Arrived well packed.",
    "There are cheaper ones, but not better ones.", "I read all reviews first, and was not let down.",
)  # fmt: skip


class Review(NamedTuple):
    """Review by somebody who is named by a letter; stars from 1 to 5."""

    who: str
    stars: int
    text: str


class Product(NamedTuple):
    """Product as the shop's pages show it; the price in euros."""

    item_id: str
    category: str
    title: str
    price: float
    specs: dict[str, str]
    reviews: tuple[Review, ...]

    @property
    def stars(self) -> float:
        """Mean of the reviews' stars."""
        return sum(one.stars for one in self.reviews) / len(self.reviews)


@dataclass(frozen=True)
class Goods:
    """All goods, in the order of their numbers.

    Examples
    --------
    >>> goods = stocked()
    >>> goods["sku-00001"].category, len(goods.products), "sku-9" in goods.by_id
    ('shoes', 2000, False)
    """

    products: tuple[Product, ...]

    def __getitem__(self, item_id: str) -> Product:
        return self.by_id[item_id]

    @cached_property
    def by_id(self) -> dict[str, Product]:
        """Product of each item id."""
        return {one.item_id: one for one in self.products}

    @cached_property
    def by_category(self) -> dict[str, list[Product]]:
        """Products of each category."""
        found: dict[str, list[Product]] = {}
        for one in self.products:
            found.setdefault(one.category, []).append(one)
        return found

    def matching(self, words: str) -> list[Product]:
        """Products that have all the words in title, category or specs."""
        wanted = words.lower().split()
        return [one for one in self.products if wanted and all(word in _text(one) for word in wanted)]


def _text(one: Product) -> str:
    return " ".join((one.title, one.category, *one.specs.values())).lower()


def stocked(config: ShopConfig | None = None) -> Goods:
    """The goods of a simulated shop."""
    config = config or ShopConfig()
    rng = np.random.default_rng([config.catalogue_seed, 1])
    shop = build(config.n_items, config.n_categories, config.causes.sd_appeal, rng)
    names, ids = category_names(config.n_categories), item_ids(config.n_items)
    return Goods(
        tuple(_product(n, str(ids[n]), str(names[shop.category[n]]), float(shop.price[n])) for n in range(config.n_items))
    )


def _product(number: int, item_id: str, category: str, price: float) -> Product:
    rng = np.random.default_rng([number, 9])
    brand, mood, colour = _one_of(_BRANDS, rng), _one_of(_MOODS, rng), _one_of(_COLOURS, rng)
    specs = {name: _one_of(values, rng) for name, values in _SPECS.get(category, _THING)}
    specs |= {"Colour": colour, "Weight": f"{int(rng.integers(90, 2400))} g", "Warranty": f"{int(rng.integers(1, 6))} years"}
    reviews = tuple(
        Review(
            f"{chr(65 + int(rng.integers(26)))}.",
            int(rng.integers(3, 6)),
            f"{_one_of(_OPENINGS, rng)} {_one_of(_VERDICTS, rng)}",
        )
        for _ in range(N_REVIEWS)
    )
    return Product(item_id, category, f"{brand} {mood} {_ONE.get(category, category)}", price, specs, reviews)


def _one_of(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
