"""A simulated shop with known truth: latent intents, related items, and causes of buying that closed-loop tests can check."""

from models.simulator.config import Causes, ShopConfig, effective_causes, ending_at, parameters
from models.simulator.response import p_click, p_next_item, p_purchase_with_signal, respond
from models.simulator.simulation import Shop, Simulation, open_shop, public_columns, simulate, to_public
from models.simulator.visit import Visit

__all__ = [
    "Causes",
    "Shop",
    "ShopConfig",
    "Simulation",
    "Visit",
    "effective_causes",
    "ending_at",
    "open_shop",
    "p_click",
    "p_next_item",
    "p_purchase_with_signal",
    "parameters",
    "public_columns",
    "respond",
    "simulate",
    "to_public",
]
