"""Feature declarations: which features exist, and where they lie.

Feast lets typeguard rewrite its classes whenever it is imported, which is two thirds of that import: seconds, in every process.
Nothing of ours relies on those checks, so they are left out; nobody else here uses typeguard.
"""

from typing import Any

import typeguard


def _as_written(target: Any = None, **_: Any) -> Any:
    """Take the place of ``typeguard.typechecked``: the class or function as it was written."""
    return _as_written if target is None else target


typeguard.typechecked = _as_written
