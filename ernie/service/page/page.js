// The page: what is asked for, when, and where its answer goes.
import { element, find, table } from './dom.js';
import { EXAMPLES } from './examples.js';
import { SHOW } from './results.js';
import { curl, Failure, listModels, requestFor, send, useToken } from './service.js';
import { duration, short } from './text.js';
import { otherLanguage, say, translate } from './words.js';

let models = [];
let running = null;  // AbortController of the request under way
let waiting = null;  // what to do again when there is a token
let redraw = null;  // draws the last result, in the language of the moment

const model = () => models[find('model').selectedIndex];
const trimmed = id => find(id).value.trim();

// ---------------------------------------------------------------- models

async function load() {
  tell('');
  find('again').hidden = true;
  find('loading').hidden = false;
  try {
    models = await listModels();
    find('token-form').hidden = true;
    if (!models.length) throw new Failure('odd', say('no_models'));
    fillModels();
    find('form').hidden = false;
  } catch (error) {
    failed(error, load);
    find('again').hidden = find('token-form').hidden === false;
  }
  find('loading').hidden = true;
}

function fillModels() {
  const wanted = new URLSearchParams(location.search).get('model');
  find('model').replaceChildren(...models.map(({ id, task }) => element('option', { value: id }, `${id} · ${say(task)}`)));
  find('model').selectedIndex = Math.max(models.findIndex(({ id }) => id === wanted), 0);
  showModel();
}

/** Whether the model reads pairs: 'pair', 'single', or 'maybe' where it does not say. */
function pairs({ task, info }) {
  if (!['classify', 'multilabel', 'regression'].includes(task)) return 'single';
  if (!Array.isArray(info?.columns)) return 'maybe';
  return info.columns.includes('text_b') ? 'pair' : 'single';
}

function showModel() {
  const { task, info = {} } = model(), reads = pairs(model());
  const fields = { text: !['answer', 'embed'].includes(task), pair: reads !== 'single', answer: task === 'answer', embed: task === 'embed' };
  for (const field of document.querySelectorAll('.field')) field.hidden = !fields[field.dataset.for];
  find('text_b-label').textContent = say(reads === 'maybe' ? 'second_maybe' : 'second');
  const facts = [];
  if (Array.isArray(info.labels) && task !== 'tag') facts.push(say('labels_count', { n: info.labels.length }));
  if (task === 'embed' && info.hidden_size) facts.push(say('wide', { n: info.hidden_size }));
  if (info.max_seq_len) facts.push(say('at_most', { n: info.max_seq_len }));
  if (info.precision && info.precision !== 'fp32') facts.push(info.precision);
  find('facts').textContent = facts.join(' · ');
  const rows = Object.entries(info).filter(([, value]) => value !== null && value !== '').map(([name, value]) => [name.replaceAll('_', ' '), plain(value)]);
  find('about').hidden = !rows.length;
  find('about').lastElementChild.replaceWith(table(say('about'), [], rows));
  showExamples(EXAMPLES[reads === 'pair' ? 'pair' : ['tag', 'answer', 'embed'].includes(task) ? task : 'text']);
}

const plain = value => (typeof value === 'object' ? short(Array.isArray(value) ? value.join(', ') : JSON.stringify(value), 400) : String(value));

function showExamples(examples) {
  find('examples').lastElementChild.replaceChildren(...examples.map(example => {
    const words = (example.question ?? Object.values(example).join(' / ')).replaceAll('\n', ' / ');
    const button = element('button', { type: 'button', class: 'example', dir: 'auto' }, words);
    button.addEventListener('click', () => {
      find('text_b').value = '';
      for (const [id, value] of Object.entries(example)) find(id).value = value;
      run();
    });
    return element('li', {}, button);
  }));
}

// ---------------------------------------------------------------- a request

/** What the visitor typed, in the form of the model; null where something is missing, which gets the focus. */
function typed() {
  const { task } = model();
  const needed = { answer: ['question', 'context'], embed: ['sentences'] }[task] ?? (pairs(model()) === 'pair' ? ['text', 'text_b'] : ['text']);
  const missing = needed.find(id => !trimmed(id));
  if (missing) {
    tell(say('empty'));
    find(missing).focus();
    return null;
  }
  if (task === 'answer') return { question: find('question').value, context: find('context').value };
  if (task === 'embed') return find('sentences').value.split('\n').map(line => line.trim()).filter(Boolean);
  return !find('text_b').closest('.field').hidden && trimmed('text_b') ? [find('text').value, find('text_b').value] : find('text').value;
}

async function run() {
  if (running) return;
  clear();
  const given = typed();
  if (given !== null) await ask(model(), given);
}

async function ask(asked, given) {
  const request = requestFor(asked, given);
  running = new AbortController();
  busy(true);
  try {
    const answered = await send(request, running.signal);
    find('token-form').hidden = true;
    redraw = () => show(asked, given, request, answered);
    redraw();
  } catch (error) {
    failed(error, () => ask(asked, given));
  }
  running = null;
  busy(false);
  // Below the form on narrow screens.
  if (find('told').getBoundingClientRect().top > 0.7 * innerHeight) find('told').scrollIntoView();
}

function busy(is) {
  find('told').setAttribute('aria-busy', String(is));
  find('send').setAttribute('aria-disabled', String(is));
  find('stop').hidden = !is;
  if (is) announce(say('sending'));
  else if (find('status').textContent === say('sending')) announce('');
}

/** Nothing is shown any more: it would be the answer to something else. */
function clear() {
  tell('');
  redraw = null;
  find('result').hidden = true;
  find('copied').textContent = '';
}

// ---------------------------------------------------------------- an answer

function show(asked, given, request, { body, seconds }) {
  const { task } = asked, place = element('div', { id: 'shown', 'data-task': task });
  let sentence;
  try {
    const result = task === 'embed' ? body.results : body.results[0];
    sentence = SHOW[task](place, result, given, asked);
    showTimes(seconds, body.tokens);
    showCut(asked, given, body.truncated);
  } catch (error) {
    console.error(error);
    tell(say('odd'));
    return;
  }
  find('shown').replaceWith(place);
  find('curl').firstElementChild.textContent = curl(request);
  find('curl-note').hidden = !curl(request).includes('$PROPELLER_AUTH_TOKEN');
  find('result').hidden = false;
  announce(sentence, true);
}

function showTimes(seconds, tokens) {
  const facts = ['trip', 'queue', 'tokenizing', 'inference'].filter(name => Number.isFinite(seconds[name])).map(name => [name, duration(seconds[name])]);
  if (Array.isArray(tokens)) facts.push(['tokens', tokens.reduce((sum, count) => sum + count, 0)]);
  find('times').replaceChildren(...facts.map(([name, value]) => element('div', { 'data-time': name }, element('dt', {}, say(name)), element('dd', {}, value))));
}

function showCut({ task, info }, given, truncated = []) {
  const which = truncated.flatMap((is, i) => (is ? [i + 1] : []));
  const sentence = task === 'embed' && given.length > 1 ? say('cut_some', { which: which.join(', ') })
    : info?.max_seq_len ? say('cut_most', { n: info.max_seq_len }) : say('cut');
  find('cut').textContent = which.length ? sentence : '';
}

// ---------------------------------------------------------------- what is said

/** Say what went wrong, and for a missing token ask for it. again: what to do when there is one. */
function failed(error, again) {
  if (error.name === 'AbortError') {
    announce(say('stopped'));
    return;
  }
  if (!(error instanceof Failure)) console.error(error);
  tell(error instanceof Failure ? error.message : say('odd'));
  waiting = again;
  if (error.code === '401') {
    find('token-form').hidden = false;
    find('token').focus();
  }
}

function tell(sentence) {
  find('alert').textContent = sentence;
  announce('');
}

/** Say something in the status line. shown: it can be seen elsewhere, and is for screen readers here. */
function announce(sentence, shown = false) {
  find('status').textContent = sentence;
  find('status').className = shown ? 'hidden' : '';
}

async function copy() {
  const code = find('curl').firstElementChild;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {  // no clipboard for pages that came without TLS from another machine
    getSelection().selectAllChildren(code);
    const done = document.execCommand('copy');
    find('copied').textContent = say(done ? 'copied' : 'not_copied');
    return;
  }
  find('copied').textContent = say('copied');
}

// ---------------------------------------------------------------- what the visitor does

find('form').addEventListener('submit', event => {
  event.preventDefault();
  run();
});
document.addEventListener('keydown', event => {
  // Enter that ends a word of an input method sends nothing.
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.isComposing && event.target.closest?.('#form')) {
    event.preventDefault();
    run();
  } else if (event.key === 'Escape' && running) {
    running.abort();
  }
});
find('token-form').addEventListener('submit', event => {
  event.preventDefault();
  if (!useToken(find('token').value.trim())) {
    tell(say('token_form'));
    return;
  }
  find('token').value = '';
  tell('');
  (waiting ?? load)();
});
find('model').addEventListener('change', () => {
  running?.abort();
  clear();
  const address = new URL(location.href);
  address.searchParams.set('model', model().id);
  history.replaceState(null, '', address);
  showModel();
});
find('stop').addEventListener('click', () => {
  running?.abort();
  find('send').focus();
});
find('again').addEventListener('click', load);
find('copy').addEventListener('click', copy);
find('language').addEventListener('click', () => {
  otherLanguage();
  if (models.length) {
    [...find('model').options].forEach((option, i) => { option.textContent = `${models[i].id} · ${say(models[i].task)}`; });
    showModel();
  }
  redraw?.();
});

translate();
load();
