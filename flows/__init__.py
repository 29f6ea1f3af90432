"""Orchestration: when and in what order the core's functions run over the event log."""

import os
from typing import Final

# Libraries look at these when they are first imported: no calls home, and a console that belongs to our own lines
# (whatever the libraries log of a run stands in Prefect's pages). A value that the user has set stays.
QUIET: Final = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # LightGBM's threads wait for each other by spinning otherwise: on a busy machine of two cores a fit took ten times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
