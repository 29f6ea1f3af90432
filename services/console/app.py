"""Application of the console: pages with their twins, acts, live streams, the door, and files of a home."""

import mimetypes
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from infra import layout
from infra.looks import TOKENS
from infra.store.errors import StoreUnavailable
from services.console import twins
from services.console.access import SESSION_S, SHORTEST_PASSWORD, Doorkeeper, Person
from services.console.acts import Doing, Seen
from services.console.guard import FILE_POLICY
from services.console.live import MOST, Streams
from services.console.page import Page, Plot, Table
from services.console.pages.all import ENTRIES, Entry
from services.console.render import HERE, block_html, lead_html, page_html, safe
from services.console.sources import Ask, Sources

KEPT: Final = 200  # pages of a moment ago, for when the store cannot be read
_STATIC: Final = {"console.css": "text/css", "live.js": "text/javascript"}
_FILES: Final = {"file": layout.REPORTS, "docs": layout.DATA_DOCS}
_SUFFIXES: Final = frozenset({".html", ".css", ".png", ".svg", ".json"})


class SignIn(NamedTuple):
    """Sign-in of people: the cookie's name, whether it wants TLS, and the header of a proxy that has made sure of them."""

    cookie: str
    is_secure: bool
    user_header: str | None = None


class Console:
    """Handlers of the console."""

    def __init__(self, sources: Sources, keeper: Doorkeeper, sign_in: SignIn) -> None:
        self._sources, self._keeper, self._entry = sources, keeper, sign_in
        self._streams = Streams()
        self._kept: dict[tuple[str, str, str], Page] = {}

    def routes(self) -> list[BaseRoute]:
        """All routes; those of pages and acts follow from the table of pages."""
        made: list[BaseRoute] = [
            Route("/livez", self._livez),
            Route("/static/{name}", self._static),
            Route("/live", self._live),
            Route("/enter", self._door_page, methods=["GET"]),
            Route("/enter", self._sign_in, methods=["POST"]),
            Route("/enter/{token}", self._link_page, methods=["GET"]),
            Route("/enter/{token}", self._by_link, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/reports/{place}/{path:path}", self._file),
        ]
        for entry in ENTRIES:
            twin = "/now" if entry.path == "/" else entry.path
            made.append(Route(entry.path, partial(self._html, entry)))
            made.append(Route(f"{twin}.json", partial(self._json, entry)))
            made.append(Route(f"{twin}.csv", partial(self._csv, entry)))
            made += [Route(f"{twin}/do/{name}", partial(self._act, entry, name), methods=["POST"]) for name in entry.acts]
        return made

    def close(self) -> None:
        """End the streams."""
        self._streams.closed = True

    # ---- who asks --------------------------------------------------------------------------------------------------------

    async def _person(self, request: Request) -> Person | None:
        named = request.headers.get(self._entry.user_header) if self._entry.user_header else None
        if named:
            return await run_in_threadpool(self._keeper.named, named)
        token = request.cookies.get(self._entry.cookie)
        return await run_in_threadpool(self._keeper.known, token) if token else None

    async def _admitted(self, request: Request, entry: Entry, *, is_page: bool = False) -> Person | Response:
        person = await self._person(request)
        if person is None:
            return self._enter(401) if is_page else JSONResponse({"detail": "sign in first"}, 401)
        if person.role not in entry.roles:
            return self._note(403, "Not for your role", f"{entry.name} is for {', '.join(sorted(entry.roles))}.")
        return person

    # ---- pages -----------------------------------------------------------------------------------------------------------

    async def _html(self, entry: Entry, request: Request) -> Response:
        person = await self._admitted(request, entry, is_page=True)
        return person if isinstance(person, Response) else await self._shown(entry, person, dict(request.query_params))

    async def _json(self, entry: Entry, request: Request) -> Response:
        person = await self._admitted(request, entry)
        if isinstance(person, Response):
            return person
        page, age_s = await self._viewed(entry, dict(request.query_params), person)
        return JSONResponse({**twins.as_json(page), "age_s": age_s or 0})

    async def _csv(self, entry: Entry, request: Request) -> Response:
        person = await self._admitted(request, entry)
        if isinstance(person, Response):
            return person
        asked = dict(request.query_params)
        wanted = asked.pop("table", None)
        page, _ = await self._viewed(entry, asked, person)
        text = twins.as_csv(page, wanted)
        if text is None:
            return PlainTextResponse("there is no such table", 404)
        name = f"{entry.name.lower()}_{wanted or 'table'}.csv".replace("/", "_")
        return Response(text, media_type="text/csv", headers={"content-disposition": f'attachment; filename="{name}"'})

    async def _viewed(self, entry: Entry, query: Mapping[str, str], person: Person) -> tuple[Page, int | None]:
        """A page, and for how long it has been so if the store cannot be read."""
        key = entry.path, urlencode(sorted(query.items())), person.role
        try:
            page = await run_in_threadpool(entry.view, self._sources, Ask(query, person.role))
        except StoreUnavailable:
            if key not in self._kept:
                raise
            kept = self._kept[key]
            return kept, max(0, (self._sources.now_us() - kept.made_at_us) // 1_000_000)
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = page
        return page, None

    async def _shown(
        self, entry: Entry, person: Person, query: dict[str, str], seen: Seen | None = None, *, failed: bool = False,
        status: int = 200,
    ) -> Response:  # fmt: skip
        try:
            page, age_s = await self._viewed(entry, query, person)
        except StoreUnavailable:
            return self._note(
                503, "The store cannot be read", "What is wrong, tells: attune doctor. Then load this page again."
            )
        tables = [(block.id, block.title) for block in page.blocks if isinstance(block, Table | Plot)]
        if seen is not None:  # what only the form's answer has is in no twin
            ours = {block.id for block in seen.blocks}
            page = replace(page, blocks=[*seen.blocks, *(block for block in page.blocks if block.id not in ours)])
        asked = urlencode(query)
        text = page_html(
            "page.html.j2",
            page=page,
            lead=safe(lead_html(page)),
            blocks=[safe(html) for html in self._blocks(entry, page, person).values()],
            path=entry.path,
            entries=[one for one in ENTRIES if person.role in one.roles],
            person=person,
            form_token=person.form_token,
            told=seen.told if seen else "",
            failed=failed,
            age_s=age_s,
            twin="/now" if entry.path == "/" else entry.path,
            query=f"?{asked}" if asked else "",
            tables=tables,
        )
        return HTMLResponse(text, status)

    def _blocks(self, entry: Entry, page: Page, person: Person) -> dict[str, str]:
        allowed = frozenset(name for name, act in entry.acts.items() if person.role in act.roles)
        return {block.id: block_html(block, person.role, allowed, person.form_token, entry.path) for block in page.blocks}

    async def _live(self, request: Request) -> Response:
        """``GET /live?page=ADDRESS``: server-sent events with the blocks that have changed."""
        asked = urlsplit(request.query_params.get("page", ""))
        entry = next((one for one in ENTRIES if one.path == asked.path), None)
        if entry is None:
            return PlainTextResponse("there is no such page", 404)
        person = await self._admitted(request, entry)
        if isinstance(person, Response):
            return person
        if self._streams.n >= MOST:
            return PlainTextResponse("too many look on", 503, {"retry-after": "10"})
        query, token = dict(parse_qsl(asked.query)), request.cookies.get(self._entry.cookie, "")

        def make() -> dict[str, str]:
            try:
                page = entry.view(self._sources, Ask(query, person.role))
            except StoreUnavailable:
                return {}
            forms = {block.id for block in page.blocks if not isinstance(block, Table | Plot)}
            return {
                **{id_: html for id_, html in self._blocks(entry, page, person).items() if id_ not in forms},
                "lead": lead_html(page),
            }

        key = f"{person.role} {entry.path}?{urlencode(sorted(query.items()))}"
        may_go_on: Callable[[], bool] = (lambda: self._keeper.known(token) is not None) if token else (lambda: True)
        stream = self._streams.follow(key, make, may_go_on)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})

    # ---- acts ------------------------------------------------------------------------------------------------------------

    async def _act(self, entry: Entry, name: str, request: Request) -> Response:
        person = await self._admitted(request, entry)
        if isinstance(person, Response):
            return person
        act, fields = entry.acts[name], await _form(request)
        if not secrets.compare_digest(fields.get("form_token", "").encode(), person.form_token.encode()):
            return self._note(
                403, "Not done", "The form was not made for this session. Load the page again, then try once more."
            )
        doing = Doing(self._sources.home, fields, person, self._sources.now_us(), self._sources)
        subject = fields.get(act.subject, "")[:200] if act.subject else ""
        if person.role not in act.roles:
            await run_in_threadpool(self._keeper.note, person, f"{entry.name} {name}", subject, doing.reason, "refused: role")
            return self._note(403, "Not for your role", f"This is for {', '.join(sorted(act.roles))}.")
        seen, failed = await run_in_threadpool(self._done, act.do, act.typed, doing)
        outcome = f"failed: {seen.told}" if failed else "done"
        await run_in_threadpool(self._keeper.note, person, f"{entry.name} {name}", subject, doing.reason, outcome)
        return await self._shown(entry, person, dict(seen.query), seen, failed=failed, status=422 if failed else 200)

    @staticmethod
    def _done(do: Callable[[Doing], str | Seen], typed: str, doing: Doing) -> tuple[Seen, bool]:
        try:
            if typed and doing.fields.get("typed", "").strip() != doing.required(typed):
                raise ValueError(f"the {typed} that was typed is another one; nothing was done")
            told = do(doing)
            return told if isinstance(told, Seen) else Seen(told), False
        except (ValueError, KeyError, OSError) as error:
            said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            return Seen(" ".join(said.split()) or type(error).__name__), True

    # ---- the door --------------------------------------------------------------------------------------------------------

    async def _door_page(self, request: Request) -> Response:
        return self._enter(200)

    async def _link_page(self, request: Request) -> Response:
        person = await run_in_threadpool(self._keeper.by_link, request.path_params["token"])
        return (
            self._enter(200, link_for=person)
            if person
            else self._enter(410, "This link has been used, or is older than 15 minutes.")
        )

    async def _by_link(self, request: Request) -> Response:
        fields, token = await _form(request), request.path_params["token"]
        try:
            found = await run_in_threadpool(self._keeper.enter_by_link, token, fields.get("password", ""))
        except ValueError as error:
            return self._enter(422, str(error), await run_in_threadpool(self._keeper.by_link, token))
        return self._in(found[0]) if found else self._enter(410, "This link has been used, or is older than 15 minutes.")

    async def _sign_in(self, request: Request) -> Response:
        fields = await _form(request)
        name = fields.get("name", "")[:64]
        if (wait_s := self._keeper.waits_s(name)) > 0:
            answer = self._enter(429, f"Too many tries; wait {wait_s:.0f} s.")
            answer.headers["retry-after"] = str(int(wait_s) + 1)
            return answer
        found = await run_in_threadpool(self._keeper.enter, name, fields.get("password", ""))
        return self._in(found[0]) if found else self._enter(401, "Name or password are wrong.")

    async def _leave(self, request: Request) -> Response:
        person = await self._person(request)
        fields = await _form(request)
        if person and secrets.compare_digest(fields.get("form_token", "").encode(), person.form_token.encode()):
            await run_in_threadpool(self._keeper.leave, person.secret)
        answer = RedirectResponse("/enter", 303)
        answer.delete_cookie(self._entry.cookie, secure=self._entry.is_secure, httponly=True, samesite="strict")
        return answer

    def _in(self, token: str) -> Response:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._entry.cookie,
            token,
            max_age=SESSION_S,
            secure=self._entry.is_secure,
            httponly=True,
            samesite="strict",
            path="/",
        )
        return answer

    def _enter(self, status: int, wrong: str = "", link_for: Person | None = None) -> Response:
        return HTMLResponse(page_html("enter.html.j2", wrong=wrong, link_for=link_for, shortest=SHORTEST_PASSWORD), status)

    def _note(self, status: int, title: str, text: str) -> Response:
        return HTMLResponse(page_html("note.html.j2", title=title, text=text), status)

    # ---- files -----------------------------------------------------------------------------------------------------------

    async def _livez(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return PlainTextResponse("not here", 404)
        text = (HERE / "static" / name).read_text(encoding="utf-8")
        return Response(
            f"{TOKENS}\n{text}" if name.endswith(".css") else text,
            media_type=_STATIC[name],
            headers={"cache-control": "no-cache"},
        )

    async def _file(self, request: Request) -> Response:
        """``GET /reports/file/…`` and ``/reports/docs/…``: what a home's runs have written for people."""
        entry = next(one for one in ENTRIES if one.path == "/reports")
        person = await self._admitted(request, entry, is_page=True)
        if isinstance(person, Response):
            return person
        place = _FILES.get(request.path_params["place"])
        path = None if place is None else _inside(self._sources.home / place, request.path_params["path"])
        if path is None:
            return self._note(404, "Not here", "There is no such report (yet).")
        kind = mimetypes.guess_type(path.name)[0] or "text/plain"
        return Response(path.read_bytes(), media_type=kind, headers={"content-security-policy": FILE_POLICY})


def _inside(folder: Path, name: str) -> Path | None:
    """A file of a folder, or None: nothing outside of it, and no other kind of file."""
    path = (folder / name).resolve()
    is_inside = path.is_relative_to(folder.resolve())
    return path if is_inside and path.suffix in _SUFFIXES and path.is_file() else None


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def build(sources: Sources, keeper: Doorkeeper, sign_in: SignIn) -> tuple[Starlette, Console]:
    """Build the application; whoever serves it puts `services.console.guard.Guard` in front."""
    console = Console(sources, keeper, sign_in)
    app = Starlette(routes=console.routes())
    app.router.redirect_slashes = False
    return app, console
