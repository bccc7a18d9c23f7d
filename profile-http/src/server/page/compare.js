// Two moments side by side: figures, memory by site, and groups.

const moments = { all: [], next: 1, live: { id: "now", name: "now" } };
const MOST_MOMENTS = 20;

/** Keeps what is shown now. */
function mark(name) {
  if (!state.stats) return;
  const moment = {
    id: String(moments.next), name: name ?? `moment ${moments.next}`, time: state.stats.time,
    stats: state.stats, goroutines: state.goroutines,
  };
  moments.next += 1;
  moments.all.push(moment);
  // The first stays: it is the moment the page was opened.
  if (moments.all.length > MOST_MOMENTS) moments.all.splice(1, 1);
  if (!name) toast(`Marked ${moment.name} at ${clock(moment.time)}`);
  drawCompare();
}

function makeCompare() {
  for (const id of ["mark", "mark-2"]) $(id).addEventListener("click", () => mark());
  for (const id of ["from", "to"]) $(id).addEventListener("change", drawCompare);
}

const momentOf = (id) =>
  id === "now" ? { ...moments.live, time: state.stats.time, stats: state.stats, goroutines: state.goroutines }
    : moments.all.find((moment) => moment.id === id);

const compared = { tables: null };

function compareTables() {
  const box = $("compared");
  const part = (title) => { const inner = h("div"); box.append(h("h3", {}, title), inner); return inner; };
  const change = (format) => ({ name: "Change", class: "num", by: (row) => row.change, cell: (cell, row) => {
    say(cell, signed(row.change, row.format ?? format));
    cell.className = `num ${changed(row.change)}`;
  } });
  const columns = (what, format) => [
    what,
    { name: "From", class: "num", by: (row) => row.from, cell: (cell, row) => say(cell, (row.format ?? format)(row.from)) },
    { name: "To", class: "num", by: (row) => row.to, cell: (cell, row) => say(cell, (row.format ?? format)(row.to)) },
    change(format),
  ];
  const name = { name: "Figure", class: "what", cell: (cell, row) => say(cell, row.name) };
  const stackDetail = { detail: (row) => (row.stack ? stackList(row.stack) : h("p", { class: "note" }, "A figure of the whole process.")), facts: () => "stack" };
  compared.tables = {
    figures: table(part("Figures"), { label: "Figures compared", key: (row) => row.name, sort: null, columns: columns(name, count), ...stackDetail, empty: "" }),
    sites: table(part("Memory in use, by site"), { label: "Sites compared", key: (row) => row.id, sort: { column: 3, down: true }, columns: columns(whatColumn, bytes), ...stackDetail, empty: () => noAllocations() ?? "No site changed." }),
    groups: table(part("Groups"), { label: "Groups compared", key: (row) => row.id, sort: { column: 3, down: true }, columns: columns(whatColumn, count), ...stackDetail, empty: "No group changed." }),
  };
}

const difference = (from, to) => (from == null || to == null ? null : to - from);

function drawCompare() {
  if (!state.stats || !moments.all.length) return;
  const options = [...moments.all, moments.live];
  for (const id of ["from", "to"]) {
    const chosen = $(id).value || (id === "from" ? moments.all[0].id : "now");
    keep($(id), options, (moment) => moment.id, (moment) =>
      h("option", { value: moment.id }, moment.time ? `${moment.name}, ${clock(moment.time)}` : moment.name));
    $(id).value = options.some((moment) => moment.id === chosen) ? chosen : id === "from" ? moments.all[0].id : "now";
  }
  const [from, to] = [momentOf($("from").value), momentOf($("to").value)];
  if (!compared.tables) compareTables();
  say($("compare-note"), `${seconds(Math.abs(to.time - from.time) / 1000)} apart`);
  compared.tables.figures.set(figures.filter(({ value }) => value(to.stats) != null || value(from.stats) != null)
    .map(({ name, value, format }) => {
      const [a, b] = [value(from.stats), value(to.stats)];
      return { name, from: a, to: b, change: difference(a, b), format };
    }));
  const sites = join(from.stats.inuse_allocations, to.stats.inuse_allocations, (row) => row.id, (row) => row.bytes);
  compared.tables.sites.set(sites.slice(0, 100));
  const rows = (moment) => (moment.goroutines?.groups ?? []).map((group) => {
    const { name, file, line } = placeOf(group);
    return { ...group, id: groupKey(group), function: name, file, line };
  });
  compared.tables.groups.set(join(rows(from), rows(to), (row) => row.id, (row) => row.count).slice(0, 100));
}

/** The rows of two moments by their identity, those that changed, the largest change first. */
function join(from, to, key, value) {
  const rows = new Map();
  for (const row of from) rows.set(key(row), { ...row, id: key(row), from: value(row), to: 0 });
  for (const row of to) rows.set(key(row), { ...row, id: key(row), from: rows.get(key(row))?.from ?? 0, to: value(row) });
  return [...rows.values()]
    .map((row) => ({ ...row, change: row.to - row.from }))
    .filter((row) => row.change !== 0)
    .sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
}
