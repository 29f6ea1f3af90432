"""The names that may stand in the environment: one check for both edges, each of which reads its own settings."""

from collections.abc import Mapping
from typing import Any, Final

from models.schema import SETTING_NAMES

PREFIX: Final = "ATTUNE_"
TEST_PREFIX: Final = "ATTUNE_TEST_"  # where the tests find servers and data; no setting of ours


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse a name with our prefix that is no setting: a misspelt setting would be ignored in silence otherwise.

    Raises
    ------
    ValueError
        With the first unknown name and the known ones.

    Examples
    --------
    >>> refuse_unknown({"ATTUNE_HOME": "/srv/attune", "ATTUNE_TEST_DATA": "x", "PATH": "/bin"})
    """
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name.removeprefix(PREFIX) not in SETTING_NAMES:
            known = ", ".join(PREFIX + known for known in sorted(SETTING_NAMES))
            raise ValueError(f"{name} is not a setting of Attune; known are {known}")


def fault(found: Mapping[str, Any]) -> str:
    """One line about a setting whose value was refused, without the value.

    Parameters
    ----------
    found
        With ``loc`` and ``msg``, as a validation library lists what it found.

    Examples
    --------
    >>> fault({"loc": ("port",), "msg": "Input should be less than 65536"})
    'ATTUNE_PORT: Input should be less than 65536'
    """
    return f"{PREFIX}{str(found['loc'][0]).upper()}: {found['msg']}"
