"""The web page of a server: a few files of the package, held in memory, under a strict content security policy."""

import hashlib
import importlib.resources
from typing import NamedTuple

_TYPES = {
    'html': 'text/html; charset=utf-8',
    'css': 'text/css; charset=utf-8',
    'js': 'text/javascript; charset=utf-8',
    'svg': 'image/svg+xml',
}
# Scripts, styles, pictures and requests of this server only; no script in the markup, and none made of text.
POLICY = '; '.join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    # Kept, and asked for again each time: files of two versions of the server are never mixed.
    'Cache-Control': 'no-cache',
}


class _File(NamedTuple):
    content: bytes
    headers: dict


def page_files():
    """The files of the page: dict name -> bytes."""
    folder = importlib.resources.files('ernie.service') / 'page'
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {entry.name: entry.read_bytes() for entry in found if entry.name.rpartition('.')[2] in _TYPES}


def add_page(app):
    """Serve the page at `/`, the description of the routes at `/docs`, and their files at `/page/NAME`.

    They hold nothing of any model and need no token: the page asks for it.

    Args:
        app: `FastAPI`, as `create_app` makes it.
    """
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response

    files = {name: _with_headers(name, content) for name, content in page_files().items()}

    def answer(request, name):
        # A name is looked up, and never a path.
        if name not in files:
            raise HTTPException(404)
        content, headers = files[name]
        known = [tag.strip().removeprefix('W/') for tag in request.headers.get('if-none-match', '').split(',')]
        if headers['ETag'] in known:
            return Response(status_code=304, headers={k: v for k, v in headers.items() if k != 'Content-Type'})
        return Response(content, headers=headers)

    async def page(request: Request):
        return answer(request, 'index.html')

    async def docs(request: Request):
        return answer(request, 'api.html')

    async def page_file(request: Request):
        return answer(request, request.path_params['file'])

    app.state.open_paths |= {'/', '/docs', *(f'/page/{name}' for name in files)}
    app.add_route('/', page, methods=['GET'], include_in_schema=False)
    app.add_route('/docs', docs, methods=['GET'], include_in_schema=False)
    app.add_route('/page/{file}', page_file, methods=['GET'], include_in_schema=False)


def _with_headers(name, content):
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, _HEADERS | {'Content-Type': _TYPES[name.rpartition('.')[2]], 'ETag': tag})
