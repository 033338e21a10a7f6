// The server: what is asked of it, and what it answers.
import { say } from './words.js';

const ROUTES = { classify: 'classify', multilabel: 'classify', regression: 'classify', tag: 'tag', answer: 'answer', embed: 'embed' };

// In memory only: gone when the page is left or loaded again.
let token = '';

export const hasToken = () => token !== '';
export const forgetToken = () => { token = ''; };

/** Take a token; false where it is none that a header can carry. */
export function useToken(value) {
  const usable = /^[\x20-\x7e]+$/.test(value);
  if (usable) token = value;
  return usable;
}

/** An answer that holds no result. code: of the server, or 'network', 'odd'; message: a sentence. */
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * The request for what a visitor gave.
 * model: entry of the list of models. given: a text, [text, text], { question, context }, or a list of texts.
 * Returns { path, body }.
 */
export function requestFor(model, given) {
  const items = model.task === 'answer' ? given : { texts: model.task === 'embed' ? given : [given] };
  return { path: `v1/${ROUTES[model.task]}`, body: { model: model.id, ...items } };
}

export const knows = task => task in ROUTES;

export async function listModels() {
  const { body } = await ask('v1/models', { method: 'GET' });
  if (!Array.isArray(body.data)) throw new Failure('odd', say('odd'));
  return body.data.filter(model => knows(model.task));
}

/** Send a request. Returns { body, seconds: { queue, tokenizing, inference, trip } }; null for what is not said. */
export async function send(request, signal) {
  return ask(request.path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(request.body), signal,
  });
}

async function ask(path, options) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const began = performance.now();
  let response, content;
  try {
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
    content = await response.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure('network', say('network', { address: location.host }));
  }
  const trip = (performance.now() - began) / 1000;
  const body = parsed(content);
  if (!response.ok) throw failure(response, body);
  if (body === null || typeof body !== 'object') throw new Failure('odd', say('odd'));
  const seconds = name => (response.headers.has(name) ? Number(response.headers.get(name)) : null);
  return {
    body,
    seconds: {
      queue: seconds('X-Queue-Seconds'), tokenizing: seconds('X-Tokenize-Seconds'), inference: seconds('X-Inference-Seconds'), trip,
    },
  };
}

function parsed(content) {
  try {
    return JSON.parse(content);
  } catch {
    return null;
  }
}

/** The sentence for an answer that is no success. */
function failure(response, body) {
  const told = body?.error?.message ?? body?.detail?.[0]?.msg ?? body?.detail ?? body?.message;
  const reason = typeof told === 'string' ? told : '';
  const wait = Number(body?.error?.retry_after ?? response.headers.get('Retry-After'));
  const retry = wait > 0 ? say('retry', { seconds: Math.ceil(wait) }) : '';
  const known = [400, 401, 404, 413, 422, 429, 500, 503, 504].includes(response.status);
  const word = response.status === 401 && hasToken() ? 'status_401_wrong' : known ? `status_${response.status}` : 'status_other';
  const sentences = [say(word, { status: response.status }), response.status === 401 ? '' : reason, retry];
  return new Failure(String(response.status), sentences.filter(Boolean).join(' '));
}

/** The same request as a command for a POSIX shell. The token is named by a variable, and not shown. */
export function curl(request) {
  const address = new URL(request.path, document.baseURI).href;
  const lines = [`curl -sS ${quoted(address)}`, `-H 'Content-Type: application/json'`];
  if (hasToken()) lines.push('-H "Authorization: Bearer $PROPELLER_AUTH_TOKEN"');
  return [...lines, `-d ${quoted(JSON.stringify(request.body))}`].join(' \\\n  ');
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
