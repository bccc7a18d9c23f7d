// Making and keeping elements. Every text is set as text: what comes from the process may hold
// anything.

const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick` and so on) and children. */
function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Sets a text only where it changes, so that a selection in it stays. */
function say(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

function show(element, visible) {
  element.hidden = !visible;
}

/**
 * Makes the children of `parent` those of `items`, in their order. A child belongs to a key, and is
 * made once for it: what was open stays open, and what has the focus keeps it.
 */
function keep(parent, items, key, make, update) {
  const known = (parent.kept ??= new Map());
  const next = new Map();
  let at = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    if (next.has(id)) continue;
    const child = known.get(id) ?? make(item);
    next.set(id, child);
    update?.(child, item);
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  for (const [id, child] of known) if (!next.has(id)) child.remove();
  parent.kept = next;
}

/** A small store that may not be there: in a private window, or where it is switched off. */
const stored = (store) => ({
  get(key) {
    try { return store().getItem(`profilez.${key}`); } catch { return null; }
  },
  set(key, value) {
    try {
      if (value == null) store().removeItem(`profilez.${key}`);
      else store().setItem(`profilez.${key}`, value);
    } catch { /* It is forgotten with the page. */ }
  },
});
const kept = stored(() => localStorage);
const tab = stored(() => sessionStorage);

/** Hands a text or bytes to the browser as a file. */
function download(name, data, type) {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

let toasted;
function toast(text) {
  say($("toast"), text);
  $("toast").classList.add("on");
  clearTimeout(toasted);
  toasted = setTimeout(() => $("toast").classList.remove("on"), 2500);
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
