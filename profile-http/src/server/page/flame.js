// A flame graph: from the root of the stacks down to what did the work, or the other way round.

const ROW = 19;
const flame = {
  told: null, whole: null, tree: null, mine: false, root: null, at: null, shown: [], search: "", inverted: false, busy: null,
  top: null,
};

/** The nodes of an answer: each has a name, a total, its own part and its children. */
function flameTree(told) {
  const path = [];
  let root = null;
  told.depth.forEach((depth, index) => {
    const node = {
      name: told.names[told.name[index]], file: told.files[told.name[index]], owner: told.owners[told.name[index]],
      value: told.value[index], own: told.own[index], children: [], parent: path[depth - 1] ?? null,
    };
    path[depth] = node;
    path.length = depth + 1;
    if (node.parent) node.parent.children.push(node);
    else root = node;
  });
  return root;
}

/** The same stacks of the program's own functions alone: what libraries did is their callers'. */
function onlyMine(root) {
  const top = { ...root, own: 0, children: [], parent: null };
  const known = new Map([[top, new Map()]]);
  const walk = [[root, top]];
  while (walk.length) {
    const [node, at] = walk.pop();
    at.own += node.own;
    for (const child of node.children) {
      let next = at;
      if (child.owner === "program") {
        const key = `${child.name}\0${child.file}`;
        next = known.get(at).get(key);
        if (!next) {
          next = { ...child, value: 0, own: 0, children: [], parent: at };
          known.get(at).set(key, next);
          known.set(next, new Map());
          at.children.push(next);
        }
        next.value += child.value;
      }
      walk.push([child, next]);
    }
  }
  if (top.own > 0) {
    top.children.push({ ...root, name: "(libraries alone)", value: top.own, own: top.own, children: [], parent: top });
    top.own = 0;
  }
  for (const node of known.keys()) node.children.sort((a, b) => b.value - a.value);
  return top;
}

/** The same stacks from their other end: a function, then who called it. */
function inverted(root) {
  const top = { name: root.name, file: "", value: root.value, own: 0, children: [], parent: null };
  const known = new Map([[top, new Map()]]);
  const walk = [root];
  while (walk.length) {
    const node = walk.pop();
    walk.push(...node.children);
    if (!(node.own > 0) || !node.parent) continue;
    let at = top;
    for (let from = node; from.parent; from = from.parent) {
      const children = known.get(at);
      const key = `${from.name}\0${from.file}`;
      let next = children.get(key);
      if (!next) {
        next = { name: from.name, file: from.file, owner: from.owner, value: 0, own: 0, children: [], parent: at };
        children.set(key, next);
        known.set(next, new Map());
        at.children.push(next);
      }
      next.value += node.own;
      at = next;
    }
  }
  for (const node of known.keys()) node.children.sort((a, b) => b.value - a.value);
  return top;
}

function setFlame(told) {
  flame.told = told;
  flame.whole = flameTree(told);
  show($("flame-box"), told.total > 0);
  show($("flame-help"), told.total > 0);
  $("flame-folded").disabled = !told.total;
  say($("flame-note"), told.total
    ? `${told.sample_type}: ${inUnit(told.total, told.unit)}${told.window_seconds ? ` in ${seconds(told.window_seconds)}` : ""}` +
      `, taken at ${clock(Date.now())}${told.left_out ? `; ${count(told.left_out)} frames are too small to show` : ""}` +
      told.notes.map((note) => `; ${note}`).join("")
    : "Nothing was recorded: in this window nothing ran, or nothing was held.");
  foldFlame(flame.mine);
}

function foldFlame(mine) {
  flame.mine = mine;
  $("flame-mine").setAttribute("aria-pressed", String(mine));
  if (!flame.whole) return;
  flame.tree = mine ? onlyMine(flame.whole) : flame.whole;
  turnFlame(flame.inverted);
  drawFlameTop();
}

function turnFlame(turned) {
  flame.inverted = turned;
  $("flame-invert").setAttribute("aria-pressed", String(turned));
  if (!flame.tree) return;
  flame.all = turned ? inverted(flame.tree) : flame.tree;
  zoomFlame(flame.all);
}

function zoomFlame(node) {
  flame.root = node;
  flame.at = node;
  $("flame-reset").disabled = node === flame.all;
  drawFlame();
  tellFlame(node);
}

const share = (node) => percent((100 * node.value) / (flame.told.total || 1), 1);

function tellFlame(node) {
  say($("flame-where"), node
    ? `${node.name} — ${inUnit(node.value, flame.told.unit)}, ${share(node)}` +
      `${node.own ? `, itself ${inUnit(node.own, flame.told.unit)}` : ""}${node.file ? ` — ${node.file}` : ""}`
    : "");
}

/** The crate or package that a function belongs to gives it its colour. */
function flameColour(node, dark) {
  const name = node.name.replace(/^<+&?(mut |dyn )?/, "");
  const family = node.owner === "plumbing" ? "" : name.split(/::|\.|</)[0];
  if (!family || node.name === "all") return dark ? "hsl(215 12% 30%)" : "hsl(215 16% 84%)";
  let hash = 7;
  for (const char of family) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const hue = (hash * 47) % 360;
  const tone = (node.name.length * 7) % 8;
  return dark ? `hsl(${hue} 45% ${30 + tone}%)` : `hsl(${hue} 68% ${76 + tone}%)`;
}

function drawFlame() {
  const canvas = $("flame");
  if (!flame.root || !canvas.clientWidth) return;
  const width = canvas.clientWidth;
  // Ancestors stay above, so that there is a way back; then what is zoomed to.
  const above = [];
  for (let node = flame.root.parent; node; node = node.parent) above.unshift(node);
  flame.shown = [];
  above.forEach((node, depth) => flame.shown.push({ node, x: 0, width, depth, above: true }));
  let deepest = above.length;
  const walk = [{ node: flame.root, x: 0, width, depth: above.length }];
  while (walk.length) {
    const box = walk.pop();
    flame.shown.push(box);
    deepest = Math.max(deepest, box.depth);
    let x = box.x;
    for (const child of box.node.children) {
      const wide = (box.width * child.value) / (box.node.value || 1);
      if (wide >= .4) walk.push({ node: child, x, width: wide, depth: box.depth + 1 });
      x += wide;
    }
  }
  const height = (deepest + 1) * ROW + 2;
  const ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.font = "12px ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace";
  c.textBaseline = "middle";
  const dark = css("color-scheme") === "dark" || getComputedStyle(document.documentElement).colorScheme === "dark";
  const letter = c.measureText("m").width;
  const [panel, text, mark, focus] = [css("--panel"), css("--text"), css("--accent"), css("--focus")];
  let found = 0;
  for (const box of flame.shown) {
    const { node } = box;
    const hit = flame.search && node.name.toLowerCase().includes(flame.search);
    if (hit && !box.above && !within(node)) found += node.value;
    c.globalAlpha = box.above || (flame.search && !hit) ? .45 : 1;
    c.fillStyle = hit ? mark : flameColour(node, dark);
    const y = box.depth * ROW + 1;
    c.fillRect(box.x, y, Math.max(box.width - 1, .4), ROW - 1);
    c.globalAlpha = 1;
    if (node === flame.at && document.activeElement === canvas) {
      c.strokeStyle = focus; c.lineWidth = 2;
      c.strokeRect(box.x + 1, y + 1, Math.max(box.width - 3, 1), ROW - 3);
    }
    const room = Math.floor((box.width - 8) / letter);
    if (room < 3) continue;
    c.fillStyle = hit ? panel : text;
    const name = node.name.length > room ? `${node.name.slice(0, room - 1)}…` : node.name;
    c.fillText(name, box.x + 4, y + (ROW - 1) / 2);
  }
  $("flame").setAttribute("aria-label", `Flame graph of ${flame.told.kind}, ${flame.root.name}, ${share(flame.root)}`);
  if (flame.search) say($("flame-where"), `“${flame.search}”: ${percent((100 * found) / (flame.root.value || 1), 1)} of what is shown`);
}

/** Whether a caller of a frame matches the search too, so that it is not counted twice. */
function within(node) {
  for (let from = node.parent; from && from !== flame.root.parent; from = from.parent) {
    if (from.name.toLowerCase().includes(flame.search)) return true;
  }
  return false;
}

function boxAt(event) {
  const edge = $("flame").getBoundingClientRect();
  const [x, depth] = [event.clientX - edge.left, Math.floor((event.clientY - edge.top - 1) / ROW)];
  return flame.shown.find((box) => box.depth === depth && x >= box.x && x < box.x + box.width);
}

function moveFlame(key) {
  const { at } = flame;
  const around = at.parent?.children ?? [at];
  const next = {
    ArrowUp: at.parent, ArrowDown: at.children[0],
    ArrowLeft: around[around.indexOf(at) - 1], ArrowRight: around[around.indexOf(at) + 1],
  }[key];
  if (!next) return;
  flame.at = next;
  if (next === flame.root.parent) flame.root = next;
  drawFlame();
  tellFlame(next);
}

/** The functions with the largest own parts: the picture as a table. */
function drawFlameTop() {
  flame.top ??= table($("flame-top"), {
    label: "Functions by their own part", key: (row) => row.id, sort: { column: 1, down: true },
    columns: [
      { ...whatColumn, by: (row) => row.function },
      textColumn("Own", (row) => row.own, (value) => inUnit(value, flame.told.unit)),
      textColumn("", (row) => row.own, (value) => percent((100 * value) / flame.told.total, 1)),
    ],
    detail: (row) => h("p", { class: "note" }, row.file || "no source file known"), facts: (row) => row.file, empty: "",
  });
  const own = new Map();
  const walk = [flame.tree];
  while (walk.length) {
    const node = walk.pop();
    walk.push(...node.children);
    if (!(node.own > 0)) continue;
    const id = `${node.name}\0${node.file}`;
    const row = own.get(id) ?? { id, function: node.name, file: node.file, line: 0, own: 0 };
    row.own += node.own;
    own.set(id, row);
  }
  flame.top.set([...own.values()].sort((a, b) => b.own - a.own).slice(0, 15));
}

async function takeFlame() {
  const kind = $("flame-kind").value;
  const timed = timedKinds.has(kind);
  const window = timed ? Number($("flame-seconds").value) || 5 : 0;
  const stop = new AbortController();
  flame.busy = stop;
  show($("flame-stop"), true);
  show($("flame-progress"), timed);
  $("flame-take").disabled = true;
  const done = progress($("flame-progress"), window);
  say($("flame-note"), timed ? `Recording ${kind} for ${seconds(window)} …` : `Taking ${kind} …`);
  try {
    setFlame(await askJson(`flame?kind=${kind}${timed ? `&seconds=${window}` : ""}`, { signal: stop.signal }));
  } catch (error) {
    say($("flame-note"), stop.signal.aborted ? "Cancelled." : error.message);
  }
  done();
  flame.busy = null;
  show($("flame-stop"), false);
  show($("flame-progress"), false);
  $("flame-take").disabled = false;
}

/** Stacks, a line each, their frames joined by semicolons, as flamegraph tools read them. */
function folded() {
  const lines = [];
  const walk = [[flame.tree, []]];
  while (walk.length) {
    const [node, path] = walk.pop();
    const here = node.parent ? [...path, node.name.replace(/[;\n]/g, " ")] : path;
    if (node.own > 0) lines.push(`${here.join(";") || "all"} ${node.own}`);
    for (const child of node.children) walk.push([child, here]);
  }
  return `${lines.join("\n")}\n`;
}

const timedKinds = new Set(["cpu", "block", "mutex"]);

function makeFlame() {
  const canvas = $("flame");
  const tip = $("flame-tip");
  $("flame-take").addEventListener("click", takeFlame);
  $("flame-stop").addEventListener("click", () => flame.busy?.abort());
  $("flame-reset").addEventListener("click", () => zoomFlame(flame.all));
  $("flame-invert").addEventListener("click", () => turnFlame(!flame.inverted));
  $("flame-mine").addEventListener("click", () => foldFlame(!flame.mine));
  $("flame-kind").addEventListener("change", (event) => show($("flame-window"), timedKinds.has(event.target.value)));
  $("flame-search").addEventListener("input", (event) => {
    flame.search = event.target.value.trim().toLowerCase();
    if (!flame.search) say($("flame-where"), "");
    drawFlame();
  });
  $("flame-folded").addEventListener("click", () => download(`${fileStem()}-${flame.told.kind}.folded`, folded(), "text/plain"));
  canvas.addEventListener("click", (event) => { const box = boxAt(event); if (box) zoomFlame(box.node); });
  canvas.addEventListener("mousemove", (event) => {
    const box = boxAt(event);
    show(tip, Boolean(box));
    if (!box) return;
    tip.replaceChildren(h("div", { class: "code" }, box.node.name),
      h("div", { class: "soft" }, `${inUnit(box.node.value, flame.told.unit)}, ${share(box.node)}${box.node.own ? `, itself ${inUnit(box.node.own, flame.told.unit)}` : ""}`),
      box.node.file ? h("div", { class: "soft" }, box.node.file) : "");
    const edge = canvas.getBoundingClientRect();
    const left = Math.min(event.clientX - edge.left + 12, edge.width - tip.offsetWidth - 4);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${event.clientY - edge.top + 18}px`;
  });
  canvas.addEventListener("mouseleave", () => show(tip, false));
  for (const change of ["focus", "blur"]) canvas.addEventListener(change, drawFlame);
  canvas.addEventListener("keydown", (event) => {
    if (!flame.root) return;
    if (event.key.startsWith("Arrow")) moveFlame(event.key);
    else if (event.key === "Enter") zoomFlame(flame.at);
    else if (event.key === "Escape") zoomFlame(flame.root.parent ?? flame.root);
    else if (event.key === "/") $("flame-search").focus();
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => drawFlame()).observe($("flame-box"));
}

function drawFlameKinds(kinds) {
  const can = kinds.filter((kind) => kind.available && kind.kind !== "trace");
  keep($("flame-kind"), can, (kind) => kind.kind, (kind) => h("option", { value: kind.kind }, kind.kind));
  show($("flame-window"), timedKinds.has($("flame-kind").value));
  $("flame-take").disabled = flame.busy != null || !can.length;
}
