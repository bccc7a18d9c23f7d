// Lines over time, drawn on canvases that share one view: zooming one zooms all.

const view = { from: null, to: null, hover: null, charts: [] };

function setView(from, to) {
  view.from = from;
  view.to = to;
  show($("zoom-reset"), from != null);
  say($("zoom-text"), from == null
    ? "Drag over a chart to zoom; with the keyboard + − ← → and 0."
    : `${clock(from)} to ${clock(to)}`);
  drawCharts();
}

const drawCharts = () => view.charts.forEach((chart) => chart.draw());

/**
 * A chart on the canvas `id`. Each series has a name, a colour variable, a `value` of a point, a
 * `format`, and perhaps `right` for an axis of its own or `dashed`.
 */
function chart(id, title, series, points) {
  const canvas = $(`${id}-chart`);
  const legend = $(`${id}-legend`);
  const pad = { left: 8, right: 8, top: 10, bottom: 20 };
  let drag = null;
  let area = null;

  const span = () => {
    const all = points();
    if (!all.length) return null;
    const first = all[0].time;
    const last = Math.max(all[all.length - 1].time, first + 1000);
    return { first, last, from: view.from ?? first, to: view.to ?? last };
  };
  const used = (all) => series.filter((line) => all.some((point) => line.value(point) != null));
  const timeAt = (x) => area.from + ((x - area.x) / area.width) * (area.to - area.from);

  function draw() {
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const ratio = devicePixelRatio || 1;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = "11px system-ui, sans-serif";
    const time = span();
    if (!time) return;
    const all = points();
    const lines = used(all);
    const inside = all.filter((p) => p.time >= time.from && p.time <= time.to);
    area = {
      x: pad.left, y: pad.top, width: width - pad.left - pad.right,
      height: height - pad.top - pad.bottom, from: time.from, to: time.to,
    };
    const top = (right) => {
      let most = 0;
      for (const line of lines) {
        if (Boolean(line.right) !== right) continue;
        for (const point of inside) most = Math.max(most, line.value(point) ?? 0);
      }
      return niceTop(most, lines.find((line) => Boolean(line.right) === right)?.binary);
    };
    const tops = [top(false), top(true)];
    grid(c, lines, tops);
    for (const line of lines) stroke(c, line, all, tops[line.right ? 1 : 0]);
    if (drag) {
      c.fillStyle = css("--select");
      c.fillRect(Math.min(drag.from, drag.to), area.y, Math.abs(drag.to - drag.from), area.height);
    }
    const at = view.hover == null ? all[all.length - 1] : nearest(inside, view.hover);
    if (view.hover != null && at) {
      const x = area.x + ((at.time - area.from) / (area.to - area.from)) * area.width;
      c.strokeStyle = css("--soft");
      c.setLineDash([2, 3]);
      c.beginPath(); c.moveTo(x, area.y); c.lineTo(x, area.y + area.height); c.stroke();
      c.setLineDash([]);
    }
    keep(legend, lines, (line) => line.name,
      (line) => {
        const swatch = h("i");
        swatch.style.background = `var(${line.colour})`;
        return h("span", {}, swatch, `${line.name} `, h("b"));
      },
      (entry, line) => say(entry.lastChild, at ? line.format(line.value(at)) : unknown));
    const latest = all[all.length - 1];
    canvas.setAttribute("aria-label", `${title}, ${clock(time.from)} to ${clock(time.to)}: ` +
      lines.map((line) => `${line.name} ${line.format(line.value(latest))}`).join(", "));
  }

  function grid(c, lines, tops) {
    c.strokeStyle = css("--grid");
    c.fillStyle = css("--soft");
    c.lineWidth = 1;
    const left = lines.find((line) => !line.right);
    const right = lines.find((line) => line.right);
    for (let step = 0; step <= 4; step += 1) {
      const y = Math.round(area.y + area.height * (1 - step / 4)) + .5;
      c.beginPath(); c.moveTo(area.x, y); c.lineTo(area.x + area.width, y); c.stroke();
      if (step === 0 || step % 2) continue;
      c.textAlign = "left";
      if (left) c.fillText(left.format((tops[0] * step) / 4), area.x + 2, y + 11);
      c.textAlign = "right";
      if (right) c.fillText(right.format((tops[1] * step) / 4), area.x + area.width - 2, y + 11);
    }
    const marks = Math.max(2, Math.min(6, Math.floor(area.width / 110)));
    for (let mark = 0; mark <= marks; mark += 1) {
      const time = area.from + ((area.to - area.from) * mark) / marks;
      c.textAlign = mark === 0 ? "left" : mark === marks ? "right" : "center";
      c.fillText(clock(time), area.x + (area.width * mark) / marks, area.y + area.height + 14);
    }
  }

  function stroke(c, line, all, top) {
    const xOf = (time) => area.x + ((time - area.from) / (area.to - area.from)) * area.width;
    const yOf = (value) => area.y + area.height * (1 - value / top);
    c.save();
    c.beginPath(); c.rect(area.x, area.y - 2, area.width, area.height + 3); c.clip();
    c.strokeStyle = css(line.colour);
    c.lineWidth = line.dashed ? 1 : 1.6;
    c.lineJoin = "round";
    c.setLineDash(line.dashed ? [4, 4] : []);
    // Of the points that fall on one column of pixels the lowest and the highest are drawn.
    c.beginPath();
    let column = null;
    let before = null;
    let started = null;
    const flush = () => {
      if (!column) return;
      c.lineTo(column.x, yOf(column.first));
      if (column.low !== column.high) { c.lineTo(column.x, yOf(column.low)); c.lineTo(column.x, yOf(column.high)); }
      c.lineTo(column.x, yOf(column.last));
      column = null;
    };
    for (const point of all) {
      const value = line.value(point);
      if (value == null) continue;
      const x = Math.round(xOf(point.time) * 2) / 2;
      if (before == null || point.gap) { flush(); c.moveTo(x, yOf(value)); started ??= x; }
      if (column && column.x === x) {
        column.low = Math.min(column.low, value);
        column.high = Math.max(column.high, value);
        column.last = value;
      } else {
        flush();
        column = { x, first: value, low: value, high: value, last: value };
      }
      before = point.time;
    }
    const end = column?.x;
    flush();
    c.stroke();
    if (line.filled && started != null && end != null && !all.some((point) => point.gap)) {
      c.globalAlpha = .1;
      c.lineTo(end, area.y + area.height); c.lineTo(started, area.y + area.height); c.closePath();
      c.fillStyle = css(line.colour); c.fill();
    }
    c.restore();
  }

  const zoomBy = (factor, middle) => {
    const time = span();
    if (!time) return;
    const centre = middle ?? (time.from + time.to) / 2;
    const from = centre - (centre - time.from) * factor;
    const to = centre + (time.to - centre) * factor;
    if (factor > 1 && to - from >= time.last - time.first) setView(null, null);
    else if (to - from >= 1000) setView(Math.max(from, time.first), Math.min(to, time.last));
  };
  const move = (part) => {
    const time = span();
    if (!time || view.from == null) return;
    let by = (time.to - time.from) * part;
    by = Math.max(by, time.first - time.from);
    by = Math.min(by, time.last - time.to);
    setView(time.from + by, time.to + by);
  };
  const xOf = (event) => event.clientX - canvas.getBoundingClientRect().left;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !area) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { from: xOf(event), to: xOf(event) };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!area) return;
    if (drag) drag.to = Math.max(area.x, Math.min(area.x + area.width, xOf(event)));
    view.hover = timeAt(xOf(event));
    drawCharts();
  });
  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const [from, to] = [timeAt(Math.min(drag.from, drag.to)), timeAt(Math.max(drag.from, drag.to))];
    const wide = Math.abs(drag.to - drag.from) > 6;
    drag = null;
    if (wide && to - from >= 200) setView(from, to);
    else drawCharts();
  });
  canvas.addEventListener("pointerleave", () => { view.hover = null; drawCharts(); });
  canvas.addEventListener("dblclick", () => setView(null, null));
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      "+": () => zoomBy(.5), "=": () => zoomBy(.5), "-": () => zoomBy(2),
      ArrowLeft: () => move(-.25), ArrowRight: () => move(.25),
      0: () => setView(null, null), Escape: () => setView(null, null),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  new ResizeObserver(draw).observe(canvas);
  view.charts.push({ draw });
}

function nearest(points, time) {
  let best = null;
  for (const point of points) {
    if (best == null || Math.abs(point.time - time) < Math.abs(best.time - time)) best = point;
  }
  return best;
}

/** A round number at or above `most`, of which a quarter is round too. */
function niceTop(most, binary) {
  if (!(most > 0)) return binary ? 1 << 20 : 1;
  const base = binary ? 2 ** (10 * Math.floor(Math.log2(most) / 10)) : 10 ** Math.floor(Math.log10(most));
  for (const factor of binary ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024] : [1, 2, 4, 6, 8, 10]) {
    if (factor * base >= most * 1.02) return factor * base;
  }
  return 2 * most;
}
