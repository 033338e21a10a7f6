// The routes of the server, from its OpenAPI file.
import { element, find, table } from './dom.js';

const METHODS = ['get', 'post'];
const id = text => text.replaceAll(/[^A-Za-z0-9]+/g, '-');

/** What may stand in a field, as text and links to objects: list of parts. */
function kind(schema = {}) {
  if (schema.$ref) {
    const name = schema.$ref.split('/').at(-1);
    return [element('a', { href: `#object-${id(name)}` }, name)];
  }
  const several = (schema.anyOf ?? schema.oneOf)?.filter(one => one.type !== 'null');
  if (several) return several.flatMap((one, i) => [...(i ? [' or '] : []), ...kind(one)]);
  if (schema.enum) return [schema.enum.map(value => JSON.stringify(value)).join(' or ')];
  if ('const' in schema) return [JSON.stringify(schema.const)];
  if (schema.type === 'array') {
    const size = schema.minItems !== undefined && schema.minItems === schema.maxItems ? `${schema.minItems} ` : '';
    const items = kind(schema.items);
    return items.length > 1 ? [`list of ${size}(`, ...items, ')'] : [`list of ${size}`, ...items];
  }
  if (schema.type === 'object' && schema.properties) return [`object with ${Object.keys(schema.properties).join(', ')}`];
  if (schema.additionalProperties?.type) return ['object of ', ...kind(schema.additionalProperties)];
  return [schema.type ?? 'anything'];
}

/** The fields of an object as a table; what is no object with fields as its kind. */
function fields(label, schema, objects) {
  const object = schema.$ref ? objects[schema.$ref.split('/').at(-1)] : schema;
  const properties = Object.entries(object?.properties ?? {});
  if (!properties.length) return element('p', {}, ...kind(schema));
  return table(label, ['field', 'kind', 'about'], properties.map(([name, property]) => {
    const about = [object.required?.includes(name) ? 'required' : '', property.description ?? ''];
    return [element('code', {}, name), element('span', {}, ...kind(property)), about.filter(Boolean).join('. ')];
  }));
}

function json(content) {
  return content?.['application/json']?.schema;
}

function route(path, method, operation, objects) {
  const name = `${method.toUpperCase()} ${path}`, made = element('section', { id: id(name) }, element('h2', {}, element('code', {}, name)));
  made.append(element('p', {}, operation.summary ?? ''));
  if (operation.security) made.append(element('p', { class: 'note' }, 'Needs the token, where the server has one: Authorization: Bearer TOKEN.'));
  const asked = json(operation.requestBody?.content), given = Object.entries(operation.responses ?? {});
  if (operation.parameters?.length) {
    const rows = operation.parameters.map(one => [element('code', {}, one.name), `in the ${one.in}`, element('span', {}, ...kind(one.schema)), one.description ?? '']);
    made.append(element('h3', {}, 'Parameters'), table(`Parameters of ${name}`, ['name', 'place', 'kind', 'about'], rows));
  }
  if (asked) made.append(element('h3', {}, 'Request'), fields(`Request of ${name}`, asked, objects));
  const good = given.map(([status, answer]) => status < 300 && json(answer.content)).find(Boolean);
  if (good) made.append(element('h3', {}, 'Answer'), fields(`Answer of ${name}`, good, objects));
  const rows = given.map(([status, answer]) => [status, answer.description, element('span', {}, ...(json(answer.content) ? kind(json(answer.content)) : ['']))]);
  const box = element('details', {}, element('summary', {}, 'Statuses'), table(`Statuses of ${name}`, ['status', 'when', 'body'], rows));
  made.append(box);
  return [name, made];
}

function show(file) {
  const objects = file.components?.schemas ?? {};
  find('about').textContent = `${file.info.title} ${file.info.version}. ${file.info.description}`;
  for (const [path, operations] of Object.entries(file.paths)) {
    for (const method of METHODS.filter(one => one in operations)) {
      const [name, made] = route(path, method, operations[method], objects);
      find('list').append(element('li', {}, element('a', { href: `#${id(name)}` }, name), ` ${operations[method].summary ?? ''}`));
      find('routes').append(made);
    }
  }
  for (const [name, object] of Object.entries(objects)) {
    find('schemas').append(element('section', { id: `object-${id(name)}` }, element('h3', {}, name),
      ...(object.description ? [element('p', { class: 'note' }, object.description)] : []), fields(name, object, objects)));
  }
  find('schemas').hidden = !Object.keys(objects).length;
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const answer = await fetch('openapi.json');
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  show(await answer.json());
} catch (error) {
  find('alert').textContent = `The description of the API cannot be had (${error.message}). Is the server running?`;
}
