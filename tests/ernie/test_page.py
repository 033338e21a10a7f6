"""The files of the web page, as a server sends them."""

import re

import pytest
from starlette.testclient import TestClient

from ernie.service.http.app import create_app
from ernie.service.http.page import page_files
from propeller.service.security import Security
from tests.ernie.fake_text_service import Service


@pytest.fixture(scope='module')
def client():
    return TestClient(create_app(Service(), Security('s3cret-token')))


def test_all_files_come_with_their_type_and_a_strict_policy_and_need_no_token(client):
    assert client.get('/v1/models').status_code == 401
    types = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}
    names = list(page_files())
    assert {'index.html', 'style.css', 'page.js', 'icon.svg'} <= set(names)
    for path, name in [('/', 'index.html'), ('/docs', 'api.html'), *((f'/page/{name}', name) for name in names)]:
        answer = client.get(path)
        assert answer.status_code == 200 and answer.content == page_files()[name]
        assert answer.headers['content-type'].split(';')[0] == types[name.rpartition('.')[2]]
        policy = answer.headers['content-security-policy'].split('; ')
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "connect-src 'self'" in policy
        assert not re.search(r'unsafe|\*|http|data:', answer.headers['content-security-policy'])
        assert answer.headers['x-content-type-options'] == 'nosniff'
    head = client.head('/')
    assert head.status_code == 200 and not head.content


def test_a_file_that_the_browser_has_is_not_sent_again(client):
    first = client.get('/page/style.css')
    assert first.headers['cache-control'] == 'no-cache'
    tag = first.headers['etag']
    for known in (tag, f'W/{tag}', f'"other", {tag}'):
        again = client.get('/page/style.css', headers={'If-None-Match': known})
        assert again.status_code == 304 and not again.content and again.headers['etag'] == tag
    assert client.get('/page/style.css', headers={'If-None-Match': '"other"'}).status_code == 200
    assert client.get('/page/page.js').headers['etag'] != tag


@pytest.mark.parametrize(
    'path',
    [
        'page.py',
        '..%2fhttp%2fpage.py',
        '%2e%2e%2fhttp%2fpage.py',
        '..%5cpage.js',
        'style.css%00',
        '%2fetc%2fpasswd',
        '',
        '.',
    ],
)
def test_nothing_but_the_files_of_the_page_is_sent(client, path):
    answer = client.get(f'/page/{path}', headers={'Authorization': 'Bearer s3cret-token'})
    assert answer.status_code == 404 and answer.json()['error']['code'] == 'not_found'
    assert client.get(f'/page/{path}').status_code in (401, 404)


def test_the_files_name_nothing_outside_and_have_no_markup_from_text():
    for name, content in page_files().items():
        text = content.decode()
        addresses = set(re.findall(r'https?://[^\s"\'<>)]+', text)) - {'http://www.w3.org/2000/svg'}
        assert not addresses, (name, addresses)
        assert not re.search(r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function', text), (
            name
        )
        assert not re.search(r'@import|\burl\(', text), name
    for name in ('index.html', 'api.html'):
        html = page_files()[name].decode()
        assert not re.search(r'\son\w+=|\sstyle=|<style|javascript:', html)
        assert all('src=' in script for script in re.findall(r'<script[^>]*>', html))
        # Relative, so that the page works behind a path of a proxy too.
        assert not re.search(r'(src|href)="/', html)


def test_both_languages_have_the_same_words():
    words = page_files()['words.js'].decode()
    english, chinese = words.partition('const WORDS')[2].split('\n  zh: {')
    names = [re.findall(r"(?:^|[\s{])(\w+): '((?:[^'\\]|\\.)*)'", part) for part in (english, chinese)]
    places = [{name: set(re.findall(r'\{(\w+)\}', text)) for name, text in found} for found in names]
    assert places[0] == places[1] and len(places[0]) > 60
    asked = {word for text in page_files().values() for word in re.findall(rb'(?:say\(\'|data-word=")(\w+)', text)}
    assert {word.decode() for word in asked} <= set(places[0])
