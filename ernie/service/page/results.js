// What is shown of an answer, a function for each task: (place, result, given, model) -> the sentence for the status line.
import { element, table } from './dom.js';
import { percent, pieces, short } from './text.js';
import { cosines, nearest } from './vectors.js';
import { say } from './words.js';

const FEW_CLASSES = 8, FEW_ANSWERS = 5, LARGE_MATRIX = 24;
const HUES = [210, 28, 140, 285, 350, 178, 52, 320, 95, 245];

export const SHOW = { classify, multilabel, regression, tag, answer, embed };

function classify(place, result) {
  const ranked = rankedClasses(result);
  const [name, share] = ranked[0];
  const label = result.label ?? name;
  place.append(element('p', { class: 'headline', dir: 'auto' }, label), element('p', { class: 'note' }, percent(share)));
  place.append(bars(ranked, new Set([label])));
  return `${label}: ${percent(share)}`;
}

function multilabel(place, result) {
  const chosen = new Set(result.labels), names = [...chosen].join(', ');
  place.append(element('p', { class: chosen.size ? 'headline' : '', dir: 'auto' }, names || say('no_class')));
  place.append(bars(rankedClasses(result), chosen, true), element('p', { class: 'note' }, say('threshold')));
  return names || say('no_class');
}

const rankedClasses = result => Object.entries(result.probabilities).sort((a, b) => b[1] - a[1]);

/** Classes as bars, the most probable first; of many the first few, and all when asked for. */
function bars(ranked, chosen, threshold = false) {
  const list = element('ol', { class: threshold ? 'bars threshold' : 'bars', 'aria-label': say('classes') });
  const draw = most => list.replaceChildren(...ranked.slice(0, most).map(([name, share]) => {
    const fill = element('span', { class: 'fill' });
    fill.style.width = `${100 * share}%`;
    const mark = chosen.has(name) ? element('span', { class: 'chosen' }, '✓ ', element('span', { class: 'hidden' }, say('chosen'))) : '';
    return element('li', { class: chosen.has(name) ? 'is-chosen' : null },
      element('span', { class: 'name', dir: 'auto' }, mark, name), element('span', { class: 'share' }, percent(share)),
      element('span', { class: 'bar', 'aria-hidden': 'true' }, fill));
  }));
  draw(FEW_CLASSES);
  const box = element('div', {}, list);
  if (ranked.length > FEW_CLASSES) {
    const all = element('button', { type: 'button', class: 'plain', 'aria-expanded': 'false' }, say('all_classes', { n: ranked.length }));
    all.addEventListener('click', () => {
      const open = all.getAttribute('aria-expanded') === 'false';
      all.setAttribute('aria-expanded', String(open));
      all.textContent = open ? say('few_classes') : say('all_classes', { n: ranked.length });
      draw(open ? ranked.length : FEW_CLASSES);
    });
    box.append(all);
  }
  return box;
}

function regression(place, result) {
  const shown = Number(result.value.toPrecision(6)).toString();
  place.append(element('p', { class: 'headline number' }, shown), element('p', { class: 'note' }, say('value')));
  return `${say('value')}: ${shown}`;
}

const typesOf = new Map();  // model -> list of types: the place of a type gives it its colour as long as the page is open

function hue(model, type) {
  if (!typesOf.has(model.id)) typesOf.set(model.id, [...(model.info?.labels ?? [])]);
  const types = typesOf.get(model.id);
  if (!types.includes(type)) types.push(type);
  const place = types.indexOf(type);
  return HUES[place] ?? Math.round(place * 137.5) % 360;
}

function coloured(made, degrees) {
  made.style.setProperty('--hue', degrees);
  return made;
}

function tag(place, result, given, model) {
  const text = result.text ?? (Array.isArray(given) ? given[0] : given), counts = new Map();
  for (const { type } of result.entities) counts.set(type, (counts.get(type) ?? 0) + 1);
  const marked = pieces(text, result.entities).map(([piece, entity]) => (entity === null ? piece
    : coloured(element('mark', { class: 'entity' }, piece, element('span', { class: 'type' }, entity.type)), hue(model, entity.type))));
  place.append(element('p', { class: 'marked', dir: 'auto' }, ...marked));
  if (!counts.size) {
    place.append(element('p', {}, say('no_entities')));
    return say('no_entities');
  }
  place.append(element('ul', { class: 'legend' }, ...[...counts].map(([type, count]) =>
    element('li', {}, coloured(element('span', { class: 'swatch', 'aria-hidden': 'true' }), hue(model, type)), `${type} × ${count}`))));
  const rows = result.entities.map(entity => [entity.text, entity.type, percent(entity.confidence), `${entity.start}–${entity.end}`]);
  place.append(table(say('entities'), [say('entity'), say('type'), say('confidence'), say('place')], rows));
  place.append(element('p', { class: 'note' }, say('place_note')));
  const names = result.entities.map(entity => `${entity.text} (${entity.type})`).join(', ');
  return say('entities_found', { n: result.entities.length, names: short(names, 300) });
}

function answer(place, result, given) {
  const found = result.start !== null && result.answer ? result : null;
  const text = found ? result.answer : say('no_answer');
  place.append(element('p', { class: found ? 'headline' : '', dir: 'auto' }, text));
  place.append(element('p', { class: 'note' }, percent(result.probability)));
  const context = element('p', { class: 'marked context', dir: 'auto' });
  const show = span => {
    const parts = pieces(given.context, span && span.start !== null ? [span] : []);
    context.replaceChildren(...parts.map(([piece, marked]) => (marked ? element('mark', { class: 'answer' }, piece) : piece)));
    const mark = context.querySelector('mark');
    if (mark) requestAnimationFrame(() => { context.scrollTop = mark.offsetTop - context.clientHeight / 2; });
  };
  place.append(context);
  show(found);
  const others = (result.n_best ?? []).filter(other => other.start !== result.start || other.end !== result.end).slice(0, FEW_ANSWERS);
  if (others.length) place.append(element('p', { class: 'head' }, say('other_answers')), choices([result, ...others], show));
  return found ? `${text}: ${percent(result.probability)}` : text;
}

/** Buttons for answers, of which one is pressed. */
function choices(answers, show) {
  const buttons = answers.map(({ text, answer: best, probability }) =>
    element('button', { type: 'button', class: 'choice', 'aria-pressed': 'false', dir: 'auto' },
      `${short(best ?? text, 60) || say('none')} `, element('span', { class: 'share' }, percent(probability))));
  buttons[0].setAttribute('aria-pressed', 'true');
  buttons.forEach((button, i) => button.addEventListener('click', () => {
    for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
    show(answers[i]);
  }));
  return element('ul', { class: 'choices' }, ...buttons.map(button => element('li', {}, button)));
}

function embed(place, vectors, sentences) {
  const numbers = vectors[0].length;
  if (Array.isArray(vectors[0][0])) {  // a model without pooling
    place.append(element('p', {}, say('of_tokens')), element('ol', {}, ...vectors.map((rows, i) =>
      element('li', { dir: 'auto' }, `${sentences[i]} · ${say('of_tokens_size', { n: rows.length, width: rows[0].length })}`))));
    return say('of_tokens');
  }
  if (vectors.length === 1) {
    const first = vectors[0].slice(0, 8).map(value => value.toFixed(4)).join(', ');
    place.append(element('p', {}, say('alone', { n: numbers })), element('p', { class: 'note' }, `${say('vector')}: ${first} …`));
    return say('alone', { n: numbers });
  }
  const matrix = cosines(vectors), best = nearest(matrix), name = i => `${i + 1}`;
  place.append(element('ol', { class: 'nearest' }, ...sentences.map((sentence, i) => element('li', {},
    element('span', { dir: 'auto' }, sentence),
    element('span', { class: 'note' }, say('nearest', { n: name(best[i]) }), ' · ', element('bdi', {}, short(sentences[best[i]], 30)), ` · ${matrix[i][best[i]].toFixed(2)}`)))));
  if (vectors.length > LARGE_MATRIX) {
    place.append(element('p', { class: 'note' }, say('matrix_large', { n: LARGE_MATRIX })));
  } else {
    place.append(heat(matrix, best, name), element('p', { class: 'note' }, say('matrix_note')));
  }
  return say('nearest_status', { n: vectors.length });
}

/** The matrix as a table; the shade goes from the least to the most similar two different sentences. */
function heat(matrix, best, name) {
  const others = matrix.flatMap((row, i) => row.filter((_, j) => i !== j));
  const least = Math.min(...others), range = Math.max(...others) - least || 1;
  const box = table(say('matrix'), ['#', ...matrix.map((_, i) => name(i))], matrix.map((row, i) => [name(i), ...row.map(value => value.toFixed(2))]));
  box.classList.add('heat');
  box.querySelectorAll('tbody tr').forEach((row, i) => row.querySelectorAll('td').forEach((cell, j) => {
    cell.style.setProperty('--share', i === j ? 0 : ((matrix[i][j] - least) / range).toFixed(3));
    cell.className = i === j ? 'same' : j === best[i] ? 'best' : '';
  }));
  return box;
}
