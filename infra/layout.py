"""Where things lie below ``ATTUNE_HOME``: relative names only, shared by the flows that write and the services that read."""

from typing import Final

STORE: Final = "attune.db"  # event log, quarantine, registry, partners, decisions
SECRET: Final = "secret.key"  # 32 bytes, mode 0600: the key behind every pseudonym
OFFLINE: Final = "offline"  # Parquet tables that Feast reads
FEAST: Final = "feast"  # Feast's registry and the embedded online store
ARTIFACTS: Final = "artifacts"  # models: one folder NAME/ID per version
BENTOML: Final = "bentoml"  # BENTOML_HOME; versions of homes of before lie below it, in models/NAME/ID
PREFECT: Final = "prefect"  # PREFECT_HOME: runs, results, the flow server's database
DATA_DOCS: Final = "data_docs"  # Great Expectations' pages
REPORTS: Final = "reports"  # evaluation and promotion reports
LOCK: Final = "up.lock"  # held by the one `attune up` of this home
SERVE_LOCK: Final = "serve.lock"  # held by the service of this home, and by its workers
METRICS: Final = "metrics"  # prometheus multi-process files, where the machine has no shared memory for them
GUESSED: Final = "guessed.toml"  # map by which `attune up --guess` read its events
LOCAL_KEY: Final = "local.key"  # the development key of this home, mode 0600
LOGS: Final = "logs"  # what the processes of `attune up` say
RETRAIN_LOCK: Final = "retrain.lock"  # held by the one flow run that may write features and models
ERASURE_LOCK: Final = "erasure.lock"  # held by whoever takes users out of the features
OFFLINE_LOCK: Final = "offline.lock"  # held while an offline table takes the place of another
RUNS: Final = "runs"  # working folders of flow runs: training rows; removed when the run ends
PREFECT_URL: Final = "prefect.url"  # where the running `attune schedule` of this home serves Prefect
PREFECT_AUTH: Final = "prefect.auth"  # with what one signs in there, mode 0600
APPROVAL_AUTH: Final = "approval.auth"  # the same of the server whose run waits for an approval
SERVICE_URL: Final = "service.url"  # where the service of this home was started last
# An artifact's folder in the registry table is relative to ATTUNE_HOME; in it: meta.json (Parts.meta), golden.json and one
# <name>.npy per array of Parts.arrays.
SUMS_FILE: Final = "sums.json"  # checksum of each other file of an artifact: a damaged model can end a whole process
META_FILE: Final = "meta.json"
GOLDEN_FILE: Final = "golden.json"  # {"rows": [[...]], "predictions": [[...]]}: a loaded model must repeat these
