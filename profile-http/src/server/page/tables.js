// Tables whose rows keep their identity: sorted, searched, opened, while their figures change.

/** A stack, a line for each frame. */
function stackList(lines) {
  return h("ol", { class: "stack" }, lines.map((text) => {
    const { name, file, line } = frameOf(text);
    return h("li", { class: isPlumbing(name, file) ? "plumbing" : "" },
      h("span", {}, name), file ? h("span", { class: "at" }, `${file}:${line}`) : null);
  }));
}

/**
 * A table in `parent`. A column has a name, a `cell(element, row)`, and for sorting a `by(row)`.
 * `detail(row)` gives what an open row shows, and `facts` the text by which it is made anew.
 */
function table(parent, { label, columns, key, sort, detail, facts, empty }) {
  const open = new Set();
  let order = sort;
  let rows = [];
  const heads = columns.map((column, index) =>
    h("th", { scope: "col", class: column.class, "aria-sort": column.by ? "none" : null },
      column.by ? h("button", { type: "button", onclick: () => turn(index) }, column.name) : column.name));
  const body = h("tbody");
  const none = h("p", { class: "empty" });
  const scroll = h("div", { class: "scroll" },
    h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, heads)), body));
  parent.append(scroll, none);

  function turn(index) {
    const same = order.column === index;
    order = { column: index, down: same ? !order.down : columns[index].down !== false };
    draw();
  }
  function toggle(id) {
    if (!open.delete(id)) open.add(id);
    draw();
  }
  const compare = (a, b) => {
    const by = columns[order.column].by;
    const [x, y] = [by(a), by(b)];
    const way = typeof x === "string" ? x.localeCompare(y) : (x ?? -Infinity) - (y ?? -Infinity);
    return (order.down ? -way : way) || (key(a) < key(b) ? -1 : 1);
  };
  function draw() {
    heads.forEach((head, index) => {
      if (!columns[index].by) return;
      const sorted = order?.column === index ? (order.down ? "descending" : "ascending") : "none";
      head.setAttribute("aria-sort", sorted);
    });
    const sorted = order ? [...rows].sort(compare) : rows;
    const shown = sorted.flatMap((row) =>
      open.has(key(row)) ? [{ row }, { row, detail: true }] : [{ row }]);
    keep(body, shown, (item) => `${item.detail ? "d" : "r"}${key(item.row)}`,
      ({ row, detail: isDetail }) => (isDetail ? h("tr", { class: "detail" }, h("td", { colspan: columns.length })) : line(row)),
      (element, { row, detail: isDetail }) => {
        if (!isDetail) {
          columns.forEach((column, index) => column.cell(element.children[index].inner ?? element.children[index], row));
          element.twist.setAttribute("aria-expanded", String(open.has(key(row))));
          return;
        }
        const told = facts?.(row) ?? "";
        if (element.told === told) return;
        element.told = told;
        element.firstChild.replaceChildren(...[detail(row)].flat());
      });
    show(scroll, rows.length > 0);
    show(none, rows.length === 0);
    if (!rows.length) say(none, typeof empty === "function" ? empty() : empty);
  }
  function line(row) {
    const id = key(row);
    const twist = h("button", { type: "button", class: "twist", "aria-label": "Stack", "aria-expanded": "false" });
    const cells = columns.map((column, index) => {
      if (index > 0) return h("td", { class: column.class });
      const inner = h("div");
      const cell = h("td", { class: column.class }, h("div", { class: "cell" }, twist, inner));
      cell.inner = inner;
      return cell;
    });
    const element = h("tr", { class: "rowline", "data-id": id, onclick: (event) => {
      // Selecting text and the buttons inside are no wish to open.
      if (getSelection().toString() || (event.target.closest("button") ?? twist) !== twist) return;
      toggle(id);
    } }, cells);
    element.twist = twist;
    return element;
  }
  return { set(next) { rows = next; draw(); }, draw, open };
}

/** A cell with a function and its place. */
function placeCell(cell, name, file, line) {
  if (!cell.fn) {
    cell.fn = cell.appendChild(h("div", { class: "fn code" }));
    cell.place = cell.appendChild(h("div", { class: "place" }));
  }
  say(cell.fn, name || "(unknown)");
  say(cell.place, file ? `${shortPath(file)}${line ? `:${line}` : ""}` : "");
  if (file) cell.place.title = file;
}

const textColumn = (name, by, format, extra = {}) => ({
  name, by, class: "num", cell: (cell, row) => say(cell, format(by(row))), ...extra,
});

const whatColumn = {
  name: "Function", class: "what", down: false, by: (row) => row.function,
  cell: (cell, row) => placeCell(cell, row.function, row.file, row.line),
};

/** The last values as a small line. */
function spark(values) {
  const [width, height] = [64, 18];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", width); svg.setAttribute("height", height);
  svg.setAttribute("class", "spark"); svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  const at = values.map((value, index) => {
    const x = 2 + (index / Math.max(values.length - 1, 1)) * (width - 4);
    const y = height - 3 - ((value - low) / (high - low || 1)) * (height - 6);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  line.setAttribute("points", at.join(" "));
  line.setAttribute("fill", "none"); line.setAttribute("stroke", "currentColor"); line.setAttribute("stroke-width", "1.5");
  svg.append(line);
  return svg;
}

const allocations = { live: true, search: "", base: new Map(), whole: { live: true, all: true }, table: null };

/** What a site held or had allocated when the page was opened, or marked; `null` where unknown. */
function since(row) {
  const side = allocations.live ? "live" : "all";
  const base = allocations.base.get(side);
  if (!base) return null;
  if (base.has(row.id)) return row.bytes - base.get(row.id);
  // A list that was not cut off did not leave it out.
  return allocations.whole[side] ? row.bytes : null;
}

function setBase(stats) {
  const map = (rows) => new Map(rows.map((row) => [row.id, row.bytes]));
  allocations.base.set("live", map(stats.inuse_allocations));
  allocations.base.set("all", map(stats.top_allocations));
  allocations.whole = { live: stats.inuse_allocations.length < 200, all: stats.top_allocations.length < 200 };
}

function makeTables() {
  allocations.table = table($("allocations"), {
    label: "Allocations", key: (row) => row.id, sort: { column: 1, down: true },
    columns: [
      whatColumn,
      textColumn("Bytes", (row) => row.bytes, bytes),
      textColumn("Blocks", (row) => row.count, count),
      { name: "Since opened", class: "num", by: since, cell: (cell, row) => {
        const change = since(row);
        say(cell, signed(change, bytes));
        cell.className = `num ${changed(change)}`;
      } },
    ],
    detail: (row) => stackList(row.stack), facts: () => "stack", empty: () => noAllocations() ?? "Nothing was allocated that the sampling saw.",
  });
  const choose = (live) => {
    allocations.live = live;
    for (const [id, on] of [["alloc-live", live], ["alloc-all", !live]]) {
      $(id).setAttribute("aria-checked", String(on));
      $(id).tabIndex = on ? 0 : -1;
    }
    drawAllocations(state.stats);
  };
  for (const [id, live, other] of [["alloc-live", true, "alloc-all"], ["alloc-all", false, "alloc-live"]]) {
    $(id).addEventListener("click", () => choose(live));
    $(id).addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      choose(!live);
      $(other).focus();
    });
  }
  $("alloc-search").addEventListener("input", (event) => {
    allocations.search = event.target.value.toLowerCase();
    drawAllocations(state.stats);
  });

  const severities = { high: "bad", medium: "warn", low: "" };
  const rank = { high: 3, medium: 2, low: 1 };
  allocations.leaks = table($("leaks"), {
    label: "Potential leaks", key: (row) => row.id, sort: { column: 1, down: true },
    columns: [
      whatColumn,
      { name: "Severity", by: (row) => rank[row.severity] * 1000 + row.score, cell: (cell, row) => {
        if (!cell.badge) cell.badge = cell.appendChild(h("span"));
        cell.badge.className = `badge ${severities[row.severity] ?? ""}`;
        say(cell.badge, `${row.severity} · ${row.score}`);
      } },
      textColumn("Live", (row) => row.live_bytes, bytes),
      textColumn("Kept", (row) => row.retention, (part) => (part == null ? unknown : percent(100 * part, 0)), { class: "num wide" }),
      { name: "Trend", class: "wide", by: (row) => (row.growing ? 1 : 0) * 1e15 + row.live_bytes, cell: (cell, row) => {
        const told = row.trend.join();
        if (cell.told === told) return;
        cell.told = told;
        cell.replaceChildren(row.trend.length > 1 ? spark(row.trend) : "", row.growing ? h("span", { class: "grew" }, " growing") : "");
      } },
      textColumn("Blocks", (row) => row.live_count, count, { class: "num wide" }),
    ],
    detail: (row) => [h("p", {}, `Why: it ${row.evidence}.`), stackList(row.stack)],
    facts: (row) => row.evidence,
    empty: () => noAllocations() ?? "No site looks like a leak.",
  });
}

/** Why there are no allocations to show; nothing where there could be. */
function noAllocations() {
  const heap = state.stats?.kinds.find((kind) => kind.kind === "heap");
  if (!heap || heap.available) return allocations.search ? "No site matches." : null;
  return `Allocations are not collected: ${heap.reason}. ${heap.hint ? `To switch them on, ${heap.hint}.` : ""}`;
}

function drawAllocations(stats) {
  if (!stats) return;
  const all = allocations.live ? stats.inuse_allocations : stats.top_allocations;
  const rows = all.filter((row) => !allocations.search ||
    `${row.function} ${row.file} ${row.stack.join(" ")}`.toLowerCase().includes(allocations.search));
  allocations.table.set(rows);
  const total = rows.reduce((sum, row) => sum + row.bytes, 0);
  const nameless = rows.some((row) => /^\[.+\+0x[0-9a-f]+\]$/.test(row.function));
  say($("alloc-note"), rows.length ? `${count(rows.length)} sites, ${bytes(total)}` +
    (nameless ? "; what has no name is an address: build the program without strip = true" : "") : "");
}

function drawLeaks(stats) {
  allocations.leaks.set(stats.potential_leaks);
  say($("leaks-note"), stats.potential_leaks.length ? "what grows beyond chance" : "");
}
