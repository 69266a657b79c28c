/** Building the page. Text from the server goes in as text only. */

export const $ = (id) => document.getElementById(id);

/** An element; attributes that are false or null are left out, and strings among the children are text. */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

/** A name in whatever script, which does not turn the text around it. */
export const nameOf = (name) =>
  make('bdi', { class: 'name', title: name.length > 40 ? name : null }, name || 'No name');

/** Tells what came of something, also to who cannot see it. */
export function say(text, isBad = false) {
  const node = $('answer');
  node.classList.toggle('bad', isBad);
  node.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (node.textContent = ''), isBad ? 12_000 : 6000);
}

/** Does what a button or a form asks for, once at a time, and tells why where it fails. */
export async function busy(control, work) {
  if (control.getAttribute('aria-disabled') === 'true') return;
  control.setAttribute('aria-disabled', 'true');
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    control.removeAttribute('aria-disabled');
  }
}

/** Keeps a list in step with its items: nodes of known keys stay as they are, with what was typed there and where the focus is. */
export function keep(list, items, keyOf, build) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let next = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = old.get(key);
    old.delete(key);
    if (node === undefined) {
      node = build(item);
      node.dataset.key = key;
    }
    if (node === next) next = next.nextElementSibling;
    else list.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

/** A picture, or a word where it cannot be had any more. */
export function picture(source, alt, missing = 'No picture') {
  if (source === null) return make('span', { class: 'missing' }, missing);
  const image = make('img', { src: source, alt, loading: 'lazy' });
  image.addEventListener('error', () => image.replaceWith(make('span', { class: 'missing' }, missing)), { once: true });
  return image;
}

/** Resolves with whether a person agrees. */
export function confirmed(title, text, yes) {
  const dialog = $('confirm');
  $('confirm-title').replaceChildren(...title);
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

export function showPicture(title, source) {
  $('picture-title').replaceChildren(...title);
  $('picture-image').src = source;
  $('picture').showModal();
}

/** The doorbell's own time, `2026-11-21T08:13:34.497533` without a zone, as it stands on its clock. */
export function timeOf(local) {
  const date = new Date(`${local.slice(0, 19)}Z`);
  if (Number.isNaN(date.getTime())) return make('span', {}, local);
  const text = date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium', timeZone: 'UTC' });
  return make('time', { datetime: local.slice(0, 19) }, text);
}

/** Nodes with commas and an `and` between them. */
export function listed(nodes) {
  return nodes.flatMap((node, index) => {
    if (index === 0) return [node];
    return [index === nodes.length - 1 ? ' and ' : ', ', node];
  });
}
