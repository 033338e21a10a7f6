// Elements. Text goes in as text: nothing here, or anywhere in the page, reads markup.

/**
 * A new element.
 * name: of the element. given: object of attributes; those that are null or false are left out.
 * children: elements and texts.
 */
export function element(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.map(child => (child instanceof Node ? child : String(child))));
  return made;
}

export const find = id => document.getElementById(id);

// What scrolls is reached with Tab, and what does not is no stop.
const sizes = new ResizeObserver(entries => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute('tabindex', '0');
    else target.removeAttribute('tabindex');
  }
});

/** A table in a box that scrolls by itself. head, rows: lists of cells; the first cell of a row is its head. */
export function table(label, head, rows) {
  const top = element('tr', {}, ...head.map(cell => element('th', { scope: 'col' }, cell)));
  const body = rows.map(([first, ...rest]) =>
    element('tr', {}, element('th', { scope: 'row', dir: 'auto' }, first), ...rest.map(cell => element('td', { dir: 'auto' }, cell))));
  const made = element('table', {}, ...(head.length ? [element('thead', {}, top)] : []), element('tbody', {}, ...body));
  const box = element('div', { class: 'wide', role: 'group', 'aria-label': label }, made);
  sizes.observe(box);
  return box;
}
