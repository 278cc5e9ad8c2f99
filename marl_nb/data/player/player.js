"use strict";
// Plays what core.player wrote into the page: M, a movie. Frames are counted from 0; `time` is in frames, with fractions
// while the picture moves. A position or a meter is interpolated; an effect, a text, a choice belongs to a frame.
const $ = id => document.getElementById(id);
const M = JSON.parse($("movie").textContent), T = M.tracks;
const last = M.frames - 1, SPEEDS = [0.25, 0.5, 1, 2, 4, 8], TURN = 2 * Math.PI;
const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
const goneAt = t => t.gone === null ? Infinity : t.gone;     // the first frame without it
const members = M.groups.map((_, g) => T.filter(t => t.group === g));
const effects = Array.from({ length: M.frames }, () => []);
M.effects.forEach(([frame, kind, source, target, size]) => effects[frame].push({ kind, source: T[source], target: T[target], size }));
let time = 0, playing = false, selected = 0, before = 0, loop = 0;

// ---- values at the present time
const frame = () => Math.ceil(time - 1e-6);                  // the step under way, or the one just made
const moment = () => Math.floor(time + 1e-6);                // when the choices under way were made
function at(values) {
  const f = Math.floor(time), k = time - f;
  return values[f] + k * (values[Math.min(f + 1, last)] - values[f]);
}
const text = (column, f) => typeof column === "string" ? column : column.words[column.at[f]];
const share = (series, f) => (series.values[f] - series.low) / (series.high - series.low || 1);
const isAvailable = (t, f, a) => parseInt(t.available[f][a >> 2], 16) >> (3 - a % 4) & 1;
const chosen = t => t.chosen && moment() < last ? t.choices[t.chosen[moment()]] : undefined;

// ---- canvases: as many pixels as the screen has, colours from the style sheet
function pen(canvas) {                                       // null where there is nothing to draw on: a hidden page
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  const W = Math.round(w * ratio), H = Math.round(h * ratio);
  if (W < 1 || H < 1) return null;
  if (canvas.width !== W || canvas.height !== H) { canvas.width = W; canvas.height = H; }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, w, h);
  return [ctx, w, h];
}
const css = getComputedStyle(document.documentElement);
const unnamed = [];                                          // meters and series that have no colour of their own
function colour(name) {
  const own = css.getPropertyValue("--" + name).trim();
  if (own) return own;
  if (!unnamed.includes(name)) unnamed.push(name);
  return css.getPropertyValue("--value" + unnamed.indexOf(name) % 4).trim();
}
const side = t => colour("group" + t.group);

// ---- the field
const extent = (() => {                                      // what to show: where the shapes were
  const edge = (values, better, by) => values.reduce((a, b) => better(a, b)) + by;
  const xs = T.flatMap(t => t.x), ys = T.flatMap(t => t.y);
  return [edge(xs, Math.min, -2), edge(ys, Math.min, -2.5), edge(xs, Math.max, 2), edge(ys, Math.max, 2.5)];
})();
function drawField() {
  const drawing = pen($("field"));
  if (!drawing) return [];
  const [ctx, w, h] = drawing;
  const [x0, y0, x1, y1] = $("whole").checked ? [0, 0, M.size[0], M.size[1]] : extent;
  const scale = Math.min(w / (x1 - x0), h / (y1 - y0), 64);
  const X = x => w / 2 + (x - (x0 + x1) / 2) * scale, Y = y => h / 2 - (y - (y0 + y1) / 2) * scale;
  drawGround(ctx, w, h, X, Y, scale);
  const place = new Map(T.map(t => [t, [X(at(t.x)), Y(at(t.y)), t.radius * scale]]));
  const front = t => t === T[selected];
  const present = T.filter(t => goneAt(t) > time).sort((a, b) => a.above - b.above || front(a) - front(b));
  const flashes = effects[Math.round(time)], flash = 1 - Math.abs(time - Math.round(time)) / 0.45;
  drawReaches(ctx, T[selected], place.get(T[selected]), scale);
  T.forEach(t => drawTrail(ctx, t, X, Y));
  T.filter(t => goneAt(t) <= time).forEach(t => drawCross(ctx, t, ...place.get(t)));
  if (flash > 0) flashes.forEach(e => (SPREADS[e.kind] || (() => 0))(ctx, e, flash, place, scale));
  present.forEach(t => drawShape(ctx, t, ...place.get(t)));
  if (flash > 0) flashes.forEach(e => e.kind in SPREADS || drawLine(ctx, e, flash, place));
  present.forEach(t => drawMeters(ctx, t, ...place.get(t)));
  drawChoice(ctx, T[selected], place, scale);
  return T.map(t => place.get(t));
}
const ground = document.createElement("canvas");             // the ground is drawn once for each size and colour
let groundKey = "";
function drawGround(ctx, w, h, X, Y, scale) {
  const ratio = window.devicePixelRatio || 1, key = [w, h, ratio, scale, X(0), Y(0), colour("page")].join();
  if (key !== groundKey) {
    groundKey = key;
    ground.width = Math.round(w * ratio); ground.height = Math.round(h * ratio);
    const g = ground.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintGround(g, w, h, X, Y, scale);
  }
  ctx.drawImage(ground, 0, 0, w, h);
}
function paintGround(ctx, w, h, X, Y, scale) {
  const [W, H] = M.size, px = x => Math.round(X(x)), py = y => Math.round(Y(y));
  const level = (x, y) => { const c = M.levels[y]?.[x]; return c === undefined ? NaN : c === "r" ? 1.5 : Math.min(+c, 2); };
  const wall = (x, y) => M.walls[y][x] !== ".";
  const cell = (x, y) => ctx.rect(px(x), py(y + 1), px(x + 1) - px(x), py(y) - py(y + 1));
  const each = visit => { for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) visit(x, y); };
  ctx.fillStyle = colour("void"); ctx.fillRect(0, 0, w, h);
  for (const [name, low] of [["level0", 0], ["level1", 1], ["level2", 1.5]]) {
    ctx.fillStyle = colour(name); ctx.beginPath();
    each((x, y) => { const l = Number.isNaN(level(x, y)) ? 1 : level(x, y); if (Math.min(Math.floor(2 * l) / 2, 2) >= low) cell(x, y); });
    ctx.fill();
  }
  ctx.strokeStyle = colour("grid"); ctx.lineWidth = 1; ctx.beginPath();
  for (let x = 0; x <= W; x++) { ctx.moveTo(px(x) + 0.5, py(0)); ctx.lineTo(px(x) + 0.5, py(H)); }
  for (let y = 0; y <= H; y++) { ctx.moveTo(px(0), py(y) + 0.5); ctx.lineTo(px(W), py(y) + 0.5); }
  ctx.stroke();
  ctx.save(); ctx.beginPath(); each((x, y) => { if (wall(x, y)) cell(x, y); }); ctx.clip();
  ctx.globalAlpha = 0.8; ctx.fillStyle = colour("wall"); ctx.fillRect(0, 0, w, h); ctx.globalAlpha = 1;
  ctx.strokeStyle = colour("hatch"); ctx.beginPath();
  for (let i = -h; i < w; i += 8) { ctx.moveTo(i, h); ctx.lineTo(i + h, 0); }
  ctx.stroke(); ctx.restore();
  ctx.strokeStyle = colour("cliff"); ctx.lineWidth = Math.max(1.5, scale / 14); ctx.lineCap = "round"; ctx.beginPath();
  each((x, y) => {                                           // edges where the ground falls by a level, ramps left open
    for (const [a, b, line] of [[x + 1, y, [x + 1, y, x + 1, y + 1]], [x, y + 1, [x, y + 1, x + 1, y + 1]]])
      if (Math.abs(level(x, y) - level(a, b)) >= 1) { ctx.moveTo(px(line[0]), py(line[1])); ctx.lineTo(px(line[2]), py(line[3])); }
  });
  ctx.stroke();
  ctx.fillStyle = colour("muted"); ctx.font = "10px system-ui, sans-serif"; ctx.textBaseline = "alphabetic";
  ctx.textAlign = "center";
  for (let x = 0; x <= W; x += 4) if (X(x) > 16 && X(x) < w - 8) ctx.fillText(x, X(x), h - 5);
  ctx.textAlign = "left";
  for (let y = 0; y <= H; y += 4) if (Y(y) > 8 && Y(y) < h - 16) ctx.fillText(y, 5, Y(y) + 3);
}
function ring(ctx, x, y, radius) { ctx.beginPath(); ctx.arc(x, y, radius, 0, TURN); }
function drawReaches(ctx, t, [x, y, radius], scale) {        // how far the selected one acts and sees
  if (goneAt(t) <= time) return;
  const reaches = t.reaches.map(reach => reach * scale), widest = Math.max(0, ...reaches);
  ctx.strokeStyle = ctx.fillStyle = side(t);
  if (t.looks) {
    const middle = -t.looks[moment()], half = t.view / 2;
    for (const reach of [...reaches].sort((a, b) => b - a)) {
      ctx.globalAlpha = 0.13; ctx.beginPath(); ctx.moveTo(x, y); ctx.arc(x, y, reach, middle - half, middle + half); ctx.fill();
    }
  } else { ctx.globalAlpha = 0.05; ring(ctx, x, y, widest); ctx.fill(); }
  ctx.globalAlpha = 1; ctx.lineWidth = 2; ring(ctx, x, y, radius + 4); ctx.stroke(); ctx.lineWidth = 1.2;
  ctx.globalAlpha = 0.65;
  reaches.forEach((reach, i) => { ring(ctx, x, y, reach); ctx.setLineDash(i ? [1, 5] : [6, 5]); ctx.stroke(); });
  ctx.setLineDash([]); ctx.globalAlpha = 1;
}
function drawTrail(ctx, t, X, Y) {                           // the last five steps; the trail of one that is gone fades away
  const end = Math.min(time, goneAt(t)), fresh = clamp(1 - (time - end) / 3, 0, 1);
  ctx.strokeStyle = side(t); ctx.lineWidth = 2; ctx.lineCap = "butt";
  for (let f = Math.max(0, Math.floor(end) - 5); f < end; f++) {
    const k = Math.min(1, end - f), [xa, ya, xb, yb] = [t.x[f], t.y[f], t.x[f + 1], t.y[f + 1]];
    ctx.globalAlpha = 0.35 * fresh * (1 - (end - f) / 6.5);
    ctx.beginPath(); ctx.moveTo(X(xa), Y(ya)); ctx.lineTo(X(xa + k * (xb - xa)), Y(ya + k * (yb - ya))); ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
const SPREADS = {                                            // effects on an area: below the shapes
  burst(ctx, { source, size }, flash, place, scale) {
    const [x, y] = place.get(source);
    ctx.fillStyle = ctx.strokeStyle = colour("burst");
    ring(ctx, x, y, size * scale); ctx.globalAlpha = 0.28 * flash; ctx.fill();
    ctx.globalAlpha = 0.9 * flash; ctx.lineWidth = 2; ctx.stroke(); ctx.globalAlpha = 1;
  },
  sweep(ctx, { source, target, size }, flash, place, scale) {
    const [x, y] = place.get(source), [tx, ty] = place.get(target), angle = Math.atan2(ty - y, tx - x);
    const dx = -Math.sin(angle) * size * scale, dy = Math.cos(angle) * size * scale;
    ctx.fillStyle = ctx.strokeStyle = colour("burst");
    ctx.globalAlpha = 0.16 * flash; ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(tx + dx, ty + dy); ctx.lineTo(tx - dx, ty - dy); ctx.fill();
    ctx.globalAlpha = 0.9 * flash; ctx.lineWidth = Math.max(3, 0.3 * scale); ctx.lineCap = "round";
    ctx.beginPath(); ctx.moveTo(tx + dx, ty + dy); ctx.lineTo(tx - dx, ty - dy); ctx.stroke(); ctx.lineCap = "butt"; ctx.globalAlpha = 1;
  },
};
function drawLine(ctx, { kind, source, target }, flash, place) {       // from one to another: a hit, or help
  const helps = kind === "help", [x, y, radius] = place.get(source), [tx, ty, reach] = place.get(target);
  const angle = Math.atan2(ty - y, tx - x), dx = Math.cos(angle), dy = Math.sin(angle);
  const ax = 2.5 * dy, ay = -2.5 * dx;                       // aside, so that duels show two lines
  ctx.strokeStyle = ctx.fillStyle = helps ? colour("help") : side(source); ctx.globalAlpha = flash; ctx.lineWidth = helps ? 3 : 1.8;
  ctx.setLineDash(helps ? [5, 4] : []);
  ctx.beginPath(); ctx.moveTo(x + radius * dx + ax, y + radius * dy + ay); ctx.lineTo(tx - reach * dx + ax, ty - reach * dy + ay); ctx.stroke();
  ctx.setLineDash([]);
  if (helps) {
    ctx.lineWidth = 3; ctx.beginPath(); ctx.moveTo(tx - 6, ty - reach - 14); ctx.lineTo(tx + 6, ty - reach - 14);
    ctx.moveTo(tx, ty - reach - 20); ctx.lineTo(tx, ty - reach - 8); ctx.stroke();
  } else {
    ring(ctx, x + (radius + 3) * dx + ax, y + (radius + 3) * dy + ay, 2 + radius * 0.12); ctx.fill();
    ctx.fillStyle = colour("burst"); ring(ctx, tx - reach * dx + ax, ty - reach * dy + ay, 3.5); ctx.fill();  // close by there is no line
  }
  ctx.globalAlpha = 1;
}
function drawCross(ctx, t, x, y, radius) {                   // where one was last, fading
  const r = radius * 0.6;
  ctx.strokeStyle = side(t); ctx.lineWidth = 2; ctx.globalAlpha = clamp(0.7 - (time - t.gone) / 12, 0.2, 0.7); ctx.beginPath();
  ctx.moveTo(x - r, y - r); ctx.lineTo(x + r, y + r); ctx.moveTo(x - r, y + r); ctx.lineTo(x + r, y - r); ctx.stroke();
  ctx.globalAlpha = 1;
}
function outline(ctx, t, x, y, radius) {
  ctx.beginPath(); M.outlines[t.outline].forEach(([a, b]) => ctx.lineTo(x + a * radius, y - b * radius)); ctx.closePath();
}
function drawShape(ctx, t, x, y, radius) {
  const alpha = clamp((goneAt(t) - time) / 0.7, 0, 1);
  if (t.above) { ctx.globalAlpha = 0.18 * alpha; ctx.fillStyle = "#000"; outline(ctx, t, x + 3, y + 5, radius); ctx.fill(); }
  ctx.globalAlpha = t.above ? 0.85 * alpha : alpha;          // what is below shines through
  if (t.looks) {                                             // where it looks
    const angle = -t.looks[moment()];
    ctx.strokeStyle = side(t); ctx.lineWidth = 2; ctx.beginPath();
    ctx.arc(x, y, radius + 3.5, angle - 0.35, angle + 0.35); ctx.stroke();
  }
  ctx.fillStyle = side(t); outline(ctx, t, x, y, radius); ctx.fill();
  ctx.strokeStyle = colour("card"); ctx.lineWidth = 1.2; ctx.lineJoin = "round"; ctx.stroke();
  const label = radius >= 12 ? t.label : radius >= 6 ? t.short : "";
  ctx.fillStyle = colour("on-shape"); ctx.font = `600 ${clamp(radius * 0.85, 8, 14)}px system-ui, sans-serif`;
  ctx.textAlign = "center"; ctx.textBaseline = "middle"; ctx.fillText(label, x, y + 0.5);
  ctx.globalAlpha = 1;
}
function drawMeters(ctx, t, x, y, radius) {                  // bars above a shape, the first one lowest
  const width = Math.max(12, 1.7 * radius), height = radius < 12 ? 3 : 4;
  let top = y - radius - height - 2;
  ctx.globalAlpha = clamp((goneAt(t) - time) / 0.7, 0, 1);
  for (const { name, values, most } of t.meters) {
    ctx.fillStyle = colour("card"); ctx.fillRect(x - width / 2 - 1, top - 1, width + 2, height + 2);
    ctx.fillStyle = colour("track"); ctx.fillRect(x - width / 2, top, width, height);
    ctx.fillStyle = colour(name); ctx.fillRect(x - width / 2, top, width * clamp(at(values) / most, 0, 1), height);
    top -= height + 1;
  }
  ctx.globalAlpha = 1;
}
function drawChoice(ctx, t, place, scale) {                  // what the selected one has chosen to do
  const choice = goneAt(t) > time ? chosen(t) : undefined;
  if (!choice) return;
  const [x, y, radius] = place.get(t), [dx, up] = choice.arrow || [0, 0], dy = -up;
  ctx.strokeStyle = ctx.fillStyle = colour("ink"); ctx.lineWidth = 1.5; ctx.globalAlpha = 0.75;
  if (choice.target !== undefined) {
    const [tx, ty, reach] = place.get(T[choice.target]);
    ctx.setLineDash([3, 3]); ring(ctx, tx, ty, reach + 5); ctx.stroke(); ctx.setLineDash([]);
  } else if (dx || dy) {
    const [a, b] = [x + dx * (radius + 7), y + dy * (radius + 7)], k = Math.max(10, scale * 0.7);
    const [c, d] = [a + dx * k, b + dy * k];
    ctx.beginPath(); ctx.moveTo(a, b); ctx.lineTo(c, d);
    ctx.moveTo(c - 5 * (dx + dy), d - 5 * (dy + dx)); ctx.lineTo(c, d); ctx.lineTo(c - 5 * (dx - dy), d - 5 * (dy - dx)); ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

// ---- series and marks over time
function drawChart() {
  const drawing = pen($("chart"));
  if (!drawing) return;
  const [ctx, w, h] = drawing, base = h - 20;
  const X = f => 8 + (w - 16) * f / Math.max(1, last), Y = v => base - (base - 4) * v;
  ctx.strokeStyle = colour("line"); ctx.lineWidth = 1; ctx.beginPath();
  for (const v of [0, 0.5, 1]) { ctx.moveTo(8, Math.round(Y(v)) + 0.5); ctx.lineTo(w - 8, Math.round(Y(v)) + 0.5); }
  ctx.stroke();
  for (const s of M.series) {
    ctx.strokeStyle = ctx.fillStyle = s.group === null ? colour(s.name) : colour("group" + s.group);
    ctx.beginPath(); s.values.forEach((_, f) => ctx.lineTo(X(f), Y(share(s, f)))); ctx.lineWidth = 2; ctx.stroke();
    if (s.group === null) continue;
    ctx.lineTo(X(last), base); ctx.lineTo(X(0), base); ctx.globalAlpha = 0.1; ctx.fill(); ctx.globalAlpha = 1;
  }
  for (const m of M.marks) { ctx.fillStyle = colour("group" + m.group); ring(ctx, X(m.frame), base + 6 + 8 * (m.group % 2), 3); ctx.fill(); }
  ctx.strokeStyle = colour("ink"); ctx.lineWidth = 1.5; ctx.beginPath(); ctx.moveTo(X(time), 0); ctx.lineTo(X(time), h); ctx.stroke();
  ctx.fillStyle = colour("muted"); ctx.font = "10px system-ui, sans-serif"; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
  ctx.fillText(M.unit, 12, base - 4); ctx.fillText(M.marked, 12, base + 13);
}
function showLegend() {                                      // series that belong to no group: name and value now
  $("legend").replaceChildren();
  for (const s of M.series.filter(s => s.group === null)) {
    put($("legend"), "span", `${s.name} ${+s.values[frame()].toPrecision(4)}`).style.color = colour(s.name);
  }
  for (const m of M.marks.filter(m => m.frame === frame() && m.text)) put($("legend"), "span", m.text, "group" + m.group);
}
function showNote() {
  const note = M.notes === null ? "" : text(M.notes, frame()), box = $("note");
  if (box.shown === note) return;
  box.shown = note;
  box.className = M.html_notes ? "" : "text";
  if (M.html_notes) box.innerHTML = note; else box.textContent = note;
}

// ---- the panel of the selected one
function put(parent, tag, text, look = "") {
  const e = document.createElement(tag);
  e.textContent = text; e.className = look; parent.append(e);
  return e;
}
function showMeter({ name, values, most }) {
  const value = at(values), box = put($("meters"), "div", "", "meter");
  put(box, "span", name, "muted");
  put(box, "span", `${Math.round(value)} of ${most}`).id = "of-" + name;
  const fill = put(put(box, "div", "", "bar"), "i", "");
  fill.style.width = `${100 * clamp(value / most, 0, 1)}%`; fill.style.background = colour(name);
}
function showNumbers(t) {
  const facts = $("facts"), fact = (name, value) => { put(facts, "dt", name); put(facts, "dd", value); };
  $("meters").replaceChildren(); facts.replaceChildren();
  [...t.meters].reverse().forEach(showMeter);
  fact("position", `${at(t.x).toFixed(2)}, ${at(t.y).toFixed(2)}`);
  for (const { name, text: column } of t.facts) fact(name, text(column, frame()));
}
let shown = "";
function showChoices(t) {                                    // what it could do at this moment, and what it chose
  const f = moment(), key = `${selected} ${f}`;
  if (key === shown) return;
  shown = key;
  $("choices").replaceChildren();
  if (!t.available || f >= last || goneAt(t) <= f) return;
  let group = "", box = null;
  t.choices.forEach((choice, a) => {
    if (!choice.group) return;                               // a number without a meaning for this one
    if (choice.group !== group) {
      group = choice.group;
      put($("choices"), "h2", `can ${group}`);
      box = put($("choices"), "div", "", "chips");
    }
    const state = t.chosen[f] === a ? "chosen" : isAvailable(t, f, a) ? "on" : "off";
    const words = { chosen: "chosen", on: "available", off: "not available" };
    put(box, "span", choice.label, state).title = `${choice.name}: ${words[state]}`;
  });
}
function showScore(f) {
  M.groups.forEach((name, g) => {
    const present = members[g].filter(t => goneAt(t) > time).length, own = M.series.find(s => s.group === g);
    const left = own ? `, ${M.unit} ${Math.round(own.values[f])} of ${own.high}` : "";
    $("of-" + name).textContent = `${name} ${present} of ${members[g].length}${left}`;
    const fill = $("of-" + name).nextElementSibling.firstElementChild;
    fill.style.width = `${100 * (own ? share(own, f) : 0)}%`; fill.style.background = colour("group" + g);
  });
}
function draw() {
  const f = frame(), t = T[selected], seconds = (time * M.step_seconds).toFixed(1);
  const counters = M.counters.map(({ name, values }) => `, ${name} ${values[f].toFixed(2)}`).join("");
  $("clock").textContent = `step ${f} of ${last}, ${seconds} s${counters}`;
  $("scrub").value = time;
  $("scrub").setAttribute("aria-valuetext", `step ${f} of ${last}, ${seconds} seconds`);
  const ended = time >= last ? M.ending : "";
  if ($("outcome").textContent !== ended) $("outcome").textContent = ended;
  $("outcome").className = `push ${M.winner === null ? "" : "group" + M.winner}`;
  $("play").textContent = playing ? "Pause" : "Play";
  $("unit").value = selected;
  $("panel").className = `of-group${t.group} ${M.notes === null ? "" : "noted"}`;
  $("action").textContent = goneAt(t) <= time ? M.gone : text(t.said, f);
  showNote(); showNumbers(t); showChoices(t); showScore(f); showLegend();
  $("field").setAttribute("aria-label", `Step ${f}: ${M.groups.map(name => $("of-" + name).textContent).join("; ")}`);
  drawField(); drawChart();
}

// ---- controls
function seek(t) { time = clamp(t, 0, last); draw(); }
function tick(now) {
  if (!playing) return;
  const passed = clamp((now - before) / 1000, 0, 0.1); before = now;
  const t = time + passed * $("speed").value / M.step_seconds;
  if (t >= last) playing = false;
  seek(t); loop = requestAnimationFrame(tick);
}
function toggle() {
  playing = !playing;
  if (playing && time >= last) time = 0;
  before = performance.now(); draw(); cancelAnimationFrame(loop); loop = requestAnimationFrame(tick);
}
function step(direction) { playing = false; seek(direction > 0 ? Math.floor(time + 1e-6) + 1 : Math.ceil(time - 1e-6) - 1); }
function mark(direction) {                                   // to the next mark, or the one before
  const ahead = M.marks.map(m => m.frame).filter(f => direction * (f - time) > 1e-6).sort((a, b) => direction * (a - b));
  if (ahead.length) { playing = false; seek(ahead[0]); }
}
function faster(direction) { const s = $("speed"); s.selectedIndex = clamp(s.selectedIndex + direction, 0, SPEEDS.length - 1); }
function select(u) { selected = u; draw(); }
const KEYS = {
  " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => seek(0), End: () => seek(last),
  "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), n: () => mark(1), N: () => mark(-1),
  u: () => select((selected + 1) % T.length), U: () => select((selected + T.length - 1) % T.length),
  m: () => { $("whole").checked = !$("whole").checked; draw(); },
};
document.addEventListener("keydown", event => {
  const tag = event.target.tagName, press = event.key === " " && (tag === "BUTTON" || event.target.type === "checkbox");
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey || tag === "SELECT" || press) return;
  event.preventDefault(); KEYS[event.key]();
});
$("play").onclick = toggle;
$("back").onclick = () => step(-1);
$("forth").onclick = () => step(1);
$("scrub").oninput = event => { playing = false; seek(+event.target.value); };
$("unit").onchange = event => select(+event.target.value);
$("whole").onchange = draw;
$("chart").onpointerdown = $("chart").onpointermove = event => {
  if (!event.buttons) return;
  playing = false; seek((event.offsetX - 8) / (event.target.clientWidth - 16) * last);
};
$("field").onclick = event => {                              // the nearest shape, a present one before one that is gone
  const distance = drawField().map(([x, y, r], u) => Math.hypot(x - event.offsetX, y - event.offsetY) - r + (goneAt(T[u]) <= time ? 6 : 0));
  const nearest = distance.indexOf(Math.min(...distance));
  if (distance[nearest] < 12) select(nearest);
};

// ---- start
$("name").textContent = M.title;
$("subtitle").textContent = M.subtitle;
$("scrub").max = last;
$("chart").setAttribute("aria-label", `${[M.unit || "series", M.marked].filter(Boolean).join(" and ")} over time`);
M.groups.forEach((name, g) => {
  const box = put($("score"), "div", "");
  put(box, "span", "", "group" + g).id = "of-" + name;
  put(put(box, "div", "", "bar"), "i", "");
});
SPEEDS.forEach(s => $("speed").add(new Option(`${s}x`, s, s === 2, s === 2)));
T.forEach((t, u) => $("unit").add(new Option(t.kind ? `${t.name} (${t.kind})` : t.name, u)));
new ResizeObserver(draw).observe($("field"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
