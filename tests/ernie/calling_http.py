"""Calls of the HTTP application without a socket."""

import asyncio

import httpx

from ernie.service.http.app import create_app
from tests.ernie.fake_text_service import Service


def caller(service=None, **options):
    """A function (method, path, **content of httpx) -> response, over one application."""
    app = create_app(service or Service(), **options)

    def call(method, path, **content):
        async def scene():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url='http://server') as client:
                return await client.request(method, path, **content)

        return asyncio.run(scene())

    return call
