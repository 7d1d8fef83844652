// Elements whose content is only ever text: what comes from outside can't become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `attributes` whose value is null are left out, `children` are nodes or text. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Sets the text unless it is there already: a selection in it stays. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Replaces the children, unless they would show the same as `key` says. */
export function fill(node, key, make) {
  if (node.shownKey === key) return;
  node.shownKey = key;
  node.replaceChildren(...make());
}

/**
 * Brings the children in step with the items: one node for each key, which is made once and
 * then updated and moved, so that focus and what is opened stay where they are.
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = (parent.knownNodes ??= new Map());
  const keys = new Set(items.map(keyOf));
  // First: what is only moved up by this stays in the document, and keeps the focus.
  for (const [key, node] of known) if (!keys.has(key)) node.remove();
  const wanted = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (wanted.has(key)) continue;
    const node = known.get(key) ?? make(item);
    wanted.set(key, node);
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  parent.knownNodes = wanted;
  for (const note of document.querySelectorAll(`[data-for="${parent.id}"]`)) {
    note.hidden = wanted.size > 0;
  }
  const scroll = parent.closest(".scroll");
  if (scroll) scroll.hidden = wanted.size === 0;
}
