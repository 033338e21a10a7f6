"""The web page in a headless Chromium, over the real HTTP application and models that answer by rule."""

import json
import subprocess

import httpx
import pytest
from PIL import Image

from script import chromium, page_pictures
from tests.ernie.page_server import MANY, Service, serving

READY, SHOWN = '!document.getElementById("form").hidden', '!document.getElementById("result").hidden'
ALERT = 'document.getElementById("alert").innerText'
STATUS = 'document.getElementById("status").textContent'
FOCUS = 'document.activeElement.id'


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    if chromium.program() is None:
        pytest.skip(f'no Chromium here (none of {", ".join(chromium.PROGRAMS)})')
    with chromium.browser(tmp_path_factory.mktemp('profile')) as new_tab:
        yield new_tab


@pytest.fixture(scope='module')
def service():
    return Service()


@pytest.fixture(scope='module')
def address(service):
    with serving(service) as address:
        yield address


@pytest.fixture(scope='module')
def tab(browser):
    tab = browser()
    yield tab
    assert not tab.complaints


@pytest.fixture
def ask(tab, address):
    """Function (model, fields): the tab, when the answer is there. fields: id of a field -> what is typed."""

    def ask(model, *, wait=SHOWN, **fields):
        tab.open(f'{address}/?model={model}')
        tab.wait(READY)
        for name, value in fields.items():
            tab.run(f'document.getElementById("{name}").value = {json.dumps(value)}')
        tab.run('document.getElementById("send").click()')
        tab.wait(wait)
        return tab

    return ask


def test_a_class_is_shown_with_all_probabilities_times_and_tokens(ask, service):
    tab = ask('点评', text='房间很干净')
    assert service.asked[-1] == {'text_a': '房间很干净'}
    result = service.models['点评'].result(service.asked[-1], 0)
    ranked = sorted(result['probabilities'].items(), key=lambda pair: -pair[1])
    assert [name.split()[-1] for name in tab.texts('.bars .name')] == [name for name, _ in ranked]
    assert tab.texts('.bars .share') == [f'{100 * share:.1f} %' for _, share in ranked]
    assert tab.text('.headline') == result['label'] and tab.text('.is-chosen .name').split()[-1] == result['label']
    assert tab.run(STATUS) == f'{result["label"]}: {100 * ranked[0][1]:.1f} %'
    times = dict(zip(tab.texts('#times dt'), tab.texts('#times dd'), strict=True))
    assert times.keys() == {'round trip', 'in the queue', 'tokenizing', 'inference', 'tokens'}
    assert (times['in the queue'], times['tokenizing'], times['inference']) == ('2.00 ms', '1.00 ms', '3.00 ms')
    assert times['tokens'] == '7' and not tab.text('#cut')
    assert 'reads at most 96 tokens' in tab.text('#facts')


def test_of_many_classes_the_first_are_shown_and_all_are_one_click_away(ask):
    tab = ask('intent', text='查一下我的话费')
    assert len(tab.texts('.bars li')) == 8
    tab.run('[...document.querySelectorAll("#shown button")].at(-1).click()')
    assert len(tab.texts('.bars li')) == len(MANY)


def test_a_model_of_pairs_asks_for_both_texts(ask, service):
    tab = ask('pairs', text='今天下雨吗', wait=f'{ALERT} === "Type something first."')
    assert tab.run(FOCUS) == 'text_b' and tab.run('document.getElementById("result").hidden')
    tab.type('今天会下雨吗')
    tab.press('Enter', control=True)
    tab.wait(SHOWN)
    assert service.asked[-1] == {'text_a': '今天下雨吗', 'text_b': '今天会下雨吗'}
    assert tab.text('.headline') in ('same', 'different')


def test_several_classes_and_a_number(ask):
    tab = ask('topics', text='服务好，早餐一般')
    assert tab.text('.headline') == '服务, 位置' and len(tab.texts('.bars .is-chosen')) == 2
    assert tab.texts('.bars .share') == ['97.3 %', '50.2 %', '48.0 %', '3.1 %', '< 0.1 %']
    assert ask('stars', text='很好').text('.headline') == '4.25137'


def test_entities_stand_at_their_places_behind_emoji_and_rare_characters(ask, service):
    text = '🎉🎉𠮷田和👩‍👩‍👧王菲\n在香港<b>吃饭</b>，👍🏽去Berlin'
    tab = ask('people', text=text)
    assert service.asked[-1] == {'text_a': text}
    marks = '[...document.querySelectorAll("mark")].map(m => [m.firstChild.data, m.lastChild.textContent])'
    assert tab.run(marks) == [['𠮷田', 'PER'], ['王菲', 'PER'], ['香港', 'LOC'], ['Berlin', 'LOC']]
    shown = (
        '(() => { const t = document.querySelector(".marked").cloneNode(true);'
        ' t.querySelectorAll(".type").forEach(e => e.remove()); return t.textContent; })()'
    )
    assert tab.run(shown) == text
    # As Python counts.
    places = [[int(end) for end in place.split('–')] for place in tab.texts('#shown td:last-child')]
    assert [text[start:end] for start, end in places] == ['𠮷田', '王菲', '香港', 'Berlin']
    assert tab.texts('.legend li') == ['PER × 2', 'LOC × 2']
    colours = tab.run('[...document.querySelectorAll("mark")].map(m => getComputedStyle(m).backgroundColor)')
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert ask('people', text='没有名字').text('#shown').endswith('No entities found.')


def test_an_answer_is_marked_in_its_context_and_others_can_be_looked_at(ask, service):
    context = '👋𠮷田町在哪里？\n不知道，𠮷田町很远。'
    tab = ask('reader', question='去哪里？', context=context)
    assert service.asked[-1] == {'question': '去哪里？', 'context': context}
    assert tab.text('.headline') == '𠮷田町' and tab.texts('.context mark') == ['𠮷田町']
    assert tab.run('document.querySelector(".context").textContent') == context
    assert tab.run('document.querySelector(".context").firstChild.data') == '👋'
    assert tab.texts('.choice') == ['𠮷田町 87.0 %', '👋𠮷田町在 6.0 %', 'no answer 2.0 %']
    tab.run('document.querySelectorAll(".choice")[1].click()')
    assert tab.texts('.context mark') == ['👋𠮷田町在']
    tab.run('document.querySelectorAll(".choice")[2].click()')
    assert not tab.texts('.context mark')
    tab = ask('reader', question='谁？', context='这里没有。')
    assert 'holds no answer' in tab.text('#shown') and not tab.texts('.context mark')


def test_sentences_are_compared(ask, service):
    sentences = ['我想退货', '', '  我想要退货  ', '今天天气好', '天气今天好吗', 'abc']
    tab = ask('e5zh', sentences='\n'.join(sentences))
    given = [sentence.strip() for sentence in sentences if sentence]
    assert [record['text_a'] for record in service.asked[-5:]] == given
    found = [line.split(' · ') for line in tab.texts('.nearest .note')]
    assert [(name.split()[-1], text) for name, text, _ in found[:4]] == [
        ('2', '我想要退货'), ('1', '我想退货'), ('4', '天气今天好吗'), ('3', '今天天气好')
    ]  # fmt: skip
    cells = tab.texts('.heat td')
    assert tab.run('document.querySelector(".heat").tabIndex') == -1
    assert len(cells) == 25 and cells[0] == cells[6] == '1.00' and cells[1] == cells[5] == found[0][2]
    assert cells[1] == f'{4 / (4 * 5) ** 0.5:.2f}'
    tab.run('(h => { h.style.width = "100px"; })(document.querySelector(".heat"))')
    tab.wait('document.querySelector(".heat").tabIndex === 0')
    tab = ask('e5zh', sentences='只有一句')
    assert 'A vector of 384 numbers' in tab.text('#shown') and not tab.texts('.heat')


def test_what_was_cut_is_said(ask):
    assert 'reads (96 tokens)' in ask('点评', text='长' * 200).text('#cut')
    assert ask('e5zh', sentences=f'短\n{"长" * 200}\n{"长" * 150}').text('#cut').endswith('sentences 2, 3.')


def test_the_curl_call_gives_what_the_page_shows(ask, service):
    text = """it's "so" \\ $HOME `id` 𠮷田!\n第二行"""
    tab = ask('people', text=text)
    command = tab.run('document.getElementById("curl").textContent')
    done = subprocess.run(['sh', '-c', command], capture_output=True, text=True, timeout=30, check=True)
    assert service.asked[-2:] == [{'text_a': text}] * 2
    (result,) = json.loads(done.stdout)['results']
    assert result['text'] == text and [entity['text'] for entity in result['entities']] == ['𠮷田']
    tab.call('Browser.grantPermissions', permissions=['clipboardReadWrite'])
    tab.tab_to('#copy')
    tab.press('Enter')
    tab.wait('document.getElementById("copied").textContent === "Copied."')
    assert tab.run('navigator.clipboard.readText()') == command


@pytest.mark.parametrize(
    'text, words',
    [
        ('422', ['cannot use this', '<b>half</b>']),
        ('429', ['too much to do', '--queue_tokens', 'Try again in 3 s.']),
        ('503', ['cannot compute', 'no worker', 'Try again in 5 s.']),
        ('504', ['in time', '30 s']),
        ('broken', ['Something went wrong']),
    ],
)
def test_refusals_are_sentences(ask, text, words):
    tab = ask('点评', text=text, wait=ALERT)
    said = tab.run(ALERT)
    assert all(word in said for word in words), said
    assert tab.run('document.getElementById("result").hidden') and not tab.run('document.querySelector("#alert b")')


def test_too_many_sentences(ask):
    said = ask('e5zh', sentences='\n'.join('abcdefghi'), wait=ALERT).run(ALERT)
    assert said.startswith('That is more than the server takes. 9 texts') and '--max_texts' in said


def test_text_is_never_markup(ask):
    text = '<img src=x onerror="document.title=1">王菲<script>document.title=1</script>'
    tab = ask('people', text=text)
    assert tab.texts('mark') and not tab.run('document.querySelector("main img, main script")')
    tab = ask('e5zh', sentences=f'{text}\n{text}')
    assert tab.text('.nearest span') == text and not tab.run('document.querySelector("main img, main script")')
    assert tab.run('document.title') == 'ERNIE'


def test_a_request_can_be_stopped_and_the_next_one_is_answered(ask):
    tab = ask('点评', text='slow', wait='!document.getElementById("stop").hidden')
    assert tab.run(STATUS) == 'Sending …'
    tab.press('Escape')
    tab.wait(f'{STATUS} === "Stopped."')
    assert not tab.run(ALERT)
    tab.run('document.getElementById("text").value = "快"; document.getElementById("send").click()')
    tab.wait(SHOWN)


def test_what_no_server_of_ours_says_is_a_sentence_too(ask):
    tab = ask('点评', text='好')
    for answer, words in (
        ('new Response("<h1>Bad Gateway</h1>", {status: 502})', 'status 502'),
        ('new Response("<h1>Welcome</h1>")', 'of one version'),
        ('new Response(JSON.stringify({results: []}))', 'of one version'),
    ):
        tab.run(f'window.fetch = async () => {answer}')
        tab.run('document.getElementById("send").click()')
        tab.wait(f'{ALERT}.includes("{words}")')
        assert tab.run('document.getElementById("result").hidden')
    tab.complaints.clear()  # the last one is an error in the console


def test_models_are_asked_for_again(browser, address):
    tab = browser()
    broken = '(f => { let n = 0; window.fetch = (...a) => n++ ? f(...a) : Promise.reject(new TypeError()); })(fetch)'
    tab.call('Page.addScriptToEvaluateOnNewDocument', source=broken)
    tab.open(address)
    tab.wait(f'{ALERT}.startsWith("No answer from")')
    assert tab.run('document.getElementById("form").hidden')
    tab.tab_to('#again')
    tab.press('Enter')
    tab.wait(READY)
    assert not tab.run(ALERT) and tab.run('document.getElementById("again").hidden')


def test_everything_is_done_with_the_keyboard_alone(tab, address, service):
    tab.open(address)
    tab.wait(READY)
    tab.tab_to('#model')
    for _ in range(5):
        tab.press('ArrowDown')
    tab.wait('document.getElementById("model").value === "people" && location.search === "?model=people"')
    tab.tab_to('#text')
    outline = tab.run('(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))')
    assert outline == ['solid', 3]
    tab.type('王菲')
    asked = len(service.asked)
    composing = 'new KeyboardEvent("keydown", {key: "Enter", ctrlKey: true, isComposing: true, bubbles: true})'
    tab.run(f'document.activeElement.dispatchEvent({composing})')
    tab.press('Enter', control=True)
    tab.wait(SHOWN)
    assert len(service.asked) == asked + 1
    assert tab.run(STATUS) == '1 found: 王菲 (PER).' and tab.run(FOCUS) == 'text'
    tab.press('Tab')
    assert tab.run(FOCUS) == 'send'
    asked = len(service.asked)
    tab.press('Enter')
    tab.wait(f'{SHOWN} && {STATUS}.startsWith("1 found")')
    assert len(service.asked) == asked + 1
    tab.tab_to('.example')
    tab.press('Tab')
    tab.press(' ')
    tab.wait(f'{STATUS}.startsWith("5 found")')
    tab.tab_to('#copy')
    # A field of one line sends with Enter.
    tab.open(f'{address}/?model=reader')
    tab.wait(READY)
    tab.run('document.getElementById("context").value = "nine"')
    tab.tab_to('#question')
    tab.type('how many?')
    tab.press('Enter')
    tab.wait(SHOWN)
    named = '[...document.querySelectorAll("input, textarea, select")].every(e => e.labels.length === 1)'
    assert tab.run(named)
    live = tab.run('["alert", "status"].map(id => document.getElementById(id).role ?? "")')
    assert live == ['alert', 'status']


def test_every_example_of_every_model_is_answered(tab, address):
    tab.open(address, reduced=True)
    tab.wait(READY)
    for place in range(tab.run('document.getElementById("model").options.length')):
        choose = f'm => {{ m.selectedIndex = {place}; m.dispatchEvent(new Event("change")); }}'
        tab.run(f'({choose})(document.getElementById("model"))')
        count = len(tab.texts('.example'))
        assert count >= 2
        for number in range(count):
            tab.run(f'document.querySelectorAll(".example")[{number}].click()')
            tab.wait(f'{SHOWN} && !document.querySelector("[aria-busy=true]")')
            assert not tab.run(ALERT)


@pytest.mark.parametrize('width, dark', [(360, False), (1200, True)])
def test_nothing_is_wider_than_the_screen_and_the_colours_follow(tab, address, width, dark):
    for model in ('intent', 'pairs', 'people', 'reader', 'e5zh'):
        tab.open(f'{address}/?model={model}', width, 700, dark, reduced=dark)
        tab.wait(READY)
        tab.run('[...document.querySelectorAll(".example")].at(-1).click()')
        tab.wait(SHOWN)
        assert tab.run('document.documentElement.scrollWidth') == width, model
    motion = tab.run('getComputedStyle(document.documentElement).scrollBehavior')
    assert motion == ('auto' if dark else 'smooth')
    ground = tab.run('getComputedStyle(document.body).backgroundColor').removeprefix('rgb(').split(',')[0]
    assert (int(ground) < 60) == dark


def test_chinese(tab, address):
    tab.open(f'{address}/?model=people')
    tab.wait(READY)
    tab.run('document.querySelectorAll(".example")[1].click()')
    tab.wait(SHOWN)
    tab.run('document.getElementById("language").click()')
    assert tab.run('document.documentElement.lang') == 'zh-CN' and tab.text('#send') == '发送'
    assert tab.run(STATUS).startswith('找到 5 个') and '往返' in tab.texts('#times dt')
    left = [text for text in tab.texts('[data-word]') if not any(character >= '一' for character in text)]
    assert set(left) == {'API'}
    tab.run('document.getElementById("language").click()')
    assert tab.text('#send') == 'Send' and tab.run(STATUS).startswith('5 found')


def test_a_token_is_asked_for_and_kept_in_memory_only(browser, address):
    tab = browser()
    with serving(Service(), token='s3cret token') as closed:
        tab.open(closed)
        tab.wait('!document.getElementById("token-form").hidden')
        assert 'asks for a token' in tab.run(ALERT) and tab.run(FOCUS) == 'token'
        tab.type('wrong token')
        tab.press('Enter')
        tab.wait(f'{ALERT} === "The server does not take this token."')
        tab.type('s3cret token')
        tab.press('Enter')
        tab.wait(READY)
        assert tab.run('document.getElementById("token-form").hidden') and not tab.run(ALERT)
        tab.run('document.querySelector(".example").click()')
        tab.wait(SHOWN)
        command = tab.text('#curl')
        assert '"Authorization: Bearer $PROPELLER_AUTH_TOKEN"' in command and 's3cret' not in command
        kept = (
            'JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]) + document.body.innerHTML'
        )
        assert 's3cret' not in tab.run(kept)
        tab.open(closed)
        tab.wait('!document.getElementById("token-form").hidden')
    # The server has gone.
    tab.run('document.getElementById("token").value = "s3cret token"')
    tab.run('document.querySelector("#token-form button").click()')
    tab.wait(f'{ALERT}.startsWith("No answer from 127.0.0.1")')
    assert not tab.complaints


def test_the_page_of_the_api_has_all_routes_and_objects(browser, service, address):
    tab = browser()
    tab.open(f'{address}/docs', 360)
    tab.wait('!document.getElementById("schemas").hidden')
    file = httpx.get(f'{address}/openapi.json').json()
    expected = [f'{method.upper()} {path}' for path, operations in file['paths'].items() for method in operations]
    assert tab.texts('#routes h2') == tab.texts('#list a') == expected and 'POST /v1/classify' in expected
    names = tab.texts('#schemas h3')
    assert names == list(file['components']['schemas'])
    lost = '[...document.querySelectorAll("main a[href^=\\"#\\"]")].filter(a => !document.querySelector(a.hash))'
    assert tab.run(f'{lost}.map(a => a.hash)') == []
    section = tab.text('#POST-v1-classify')
    assert 'top_k' in section and 'integer' in section and 'Needs the token' in section
    assert 'Needs the token' not in tab.text('#GET-livez')
    assert tab.run('document.documentElement.scrollWidth') == 360 and not tab.complaints


def test_pictures_for_the_documents(tab, address, tmp_path):
    shown = [
        page_pictures.picture(tab, address, name, width, False) for name, width in (('people', 400), ('点评', 700))
    ]
    page_pictures.save(page_pictures.beside(shown), tmp_path / 'page.png')
    with Image.open(tmp_path / 'page.png') as picture:
        assert picture.size == (1100 + page_pictures.GAP, max(one.height for one in shown))
        assert len(picture.getcolors()) > 20


def test_no_request_leaves_the_server(tab, address):
    """Run after the others: of all that they have done."""
    if not tab.requests:
        tab.open(address)
        tab.wait(READY)
    assert all(asked.startswith((address, 'about:blank')) for asked in tab.requests)
    # What is tried all the same is stopped by the policy.
    tab.run('fetch("http://127.0.0.2:9/").catch(() => 0)')
    tab.run('(i => { document.body.append(i); i.src = "http://127.0.0.2:9/x.png"; })(new Image())')
    tab.wait('new Promise(done => setTimeout(() => done(true), 100))')
    blocked = [text for text in tab.complaints if 'Content Security Policy' in text]
    assert len(blocked) >= 2
    tab.complaints.clear()
