"""Models of one small shop, fitted once per test session."""

import pytest

from models.simulator import ShopConfig
from tests.fitted import Fitted, fit


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    """Every model, fitted before the held-out period."""
    return fit(ShopConfig(n_users=250, n_days=5, seed=4, n_items=120))
