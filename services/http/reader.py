"""Store reader of requests: short queries on the event loop's thread, which never wait for a lock."""

from typing import Final

from infra.store.errors import StoreUnavailable
from infra.store.protocol import Bindings, Row, Store
from services.http.problems import Refusal

RETRY_AFTER: Final = ((b"retry-after", b"1"),)


class Reader:
    """Reader that turns a store which cannot be read into a refusal.

    Parameters
    ----------
    store
        One that waits for nobody, since all other requests wait behind this one; used by one thread.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def rows(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        """All rows of a statement.

        Raises
        ------
        Refusal
            503 where the store cannot be read.
        """
        try:
            return self.store.read(statement, bindings)
        except StoreUnavailable:
            raise Refusal(503, "the store cannot be read now; send the request again", headers=RETRY_AFTER) from None
