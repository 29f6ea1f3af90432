"""A console for tests: the application behind its guard, and people with each role."""

import time
from pathlib import Path

from starlette.testclient import TestClient

from infra.store.engines import closed_store, open_store
from services.console import access
from services.console.access import Doorkeeper
from services.console.app import SignIn, build
from services.console.guard import Guard
from services.console.serve import COOKIE, names_of
from services.console.sources import Sources

BASE = "http://127.0.0.1:3001"


def now_us() -> int:
    return time.time_ns() // 1000


class Desk:
    """Console of a home."""

    def __init__(self, home: Path, user_header: str | None = None, sources: Sources | None = None) -> None:
        self.home = home
        open_store(home).close()
        self.sources = sources or Sources(home)
        self.keeper = Doorkeeper(closed_store(home), now_us)
        app, self.console = build(self.sources, self.keeper, SignIn(COOKIE, False, user_header))
        self.app = Guard(app, names_of("127.0.0.1", 3001))
        self._clients: dict[str | None, TestClient] = {}

    def client(self, role: str | None = None) -> TestClient:
        """Somebody with a role who is signed in; nobody, without one."""
        if role not in self._clients:
            made = TestClient(self.app, base_url=BASE, headers={"origin": BASE}, follow_redirects=False)
            if role is not None:
                token = access.add(self.home, role, role, now_us())
                assert made.post(f"/enter/{token}").status_code == 303
            self._clients[role] = made
        return self._clients[role]

    def form_token(self, role: str) -> str:
        """Token that the forms of a role's session carry."""
        person = self.keeper.known(self.client(role).cookies[COOKIE])
        assert person is not None
        return person.form_token

    def post(self, role: str, path: str, **fields: str) -> "TestClient":
        """Send a form as a role would."""
        answer: TestClient = self.client(role).post(path, data={"form_token": self.form_token(role), **fields})
        return answer

    def close(self) -> None:
        """Let go of the home."""
        self.console.close()
        self.sources.close()
