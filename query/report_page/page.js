"use strict";
const $ = (id) => document.getElementById(id);
const { views, metrics, settings, classes, turbo } = DATA;
const percent = (x) => (100 * x).toFixed(1);
const has = (x) => x !== null && x !== undefined;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node) node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function shape(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/* Layers over a photograph: relevancy painted on a canvas, outlines as SVG, the point as a dot. */

const greys = new Map();

async function grey(answer) {
  if (!greys.has(answer)) {
    const image = new Image();
    image.src = answer.relevancy;
    greys.set(answer, image.decode().then(() => {
      const canvas = element("canvas", { width: image.width, height: image.height });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const pixels = context.getImageData(0, 0, image.width, image.height).data;
      return { width: image.width, height: image.height, values: pixels.filter((_, i) => i % 4 === 0) };
    }));
  }
  return greys.get(answer);
}

async function paint(canvas, answer, opacity, spotlight) {
  const { width, height, values } = await grey(answer);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    const v = values[i], t = v / 255;
    const heat = opacity * t * t;
    const dark = spotlight * (1 - t * t * (3 - 2 * t));
    const alpha = 1 - (1 - heat) * (1 - dark);
    const keep = alpha > 0 ? heat / alpha : 0;
    picture.data.set([turbo[v][0] * keep, turbo[v][1] * keep, turbo[v][2] * keep, 255 * alpha], 4 * i);
  }
  context.putImageData(picture, 0, 0);
}

function layers(view, answer, options) {
  const canvas = element("canvas");
  const parts = [element("img", { className: "photo", src: view.photo, alt: view.image, width: view.width, height: view.height }), canvas];
  if (options.classes && view.classes) parts.push(element("img", { className: "classes", src: view.classes, alt: "", style: "opacity:.65" }));
  else if (answer) paint(canvas, answer, options.opacity, options.spotlight);
  if (answer) {
    const svg = shape("svg", { viewBox: `-0.5 -0.5 ${view.width} ${view.height}`, preserveAspectRatio: "none" });
    if (options.truth && answer.truth) svg.append(shape("path", { d: answer.truth, class: "halo" }), shape("path", { d: answer.truth, class: "truth" }));
    if (options.mask && answer.mask) svg.append(shape("path", { d: answer.mask, class: "halo" }), shape("path", { d: answer.mask, class: "mask" }));
    parts.push(svg);
    if (options.point) {
      const [x, y] = answer.point;
      parts.push(element("span", { className: "dot", style: `left:${100 * (x + 0.5) / view.width}%;top:${100 * (y + 0.5) / view.height}%` }));
    }
  }
  return parts;
}

/* The explorer: one view, one phrase. */

const state = { view: 0, phrase: null };
const phrases = [...new Set(views.flatMap((view) => view.answers.map((answer) => answer.phrase)))];
const options = () => ({
  opacity: $("opacity").value / 100, spotlight: $("spotlight").value / 100, mask: $("show-mask").checked,
  truth: $("show-truth").checked, point: $("show-point").checked, classes: $("show-classes").checked,
});

function current() {
  const view = views[state.view];
  return { view, answer: view.answers.find((a) => a.phrase === state.phrase) ?? view.answers[0] };
}

function verdict(answer) {
  const parts = [];
  if (has(answer.iou)) parts.push(element("span", { className: "note", textContent: `IoU ${percent(answer.iou)} ` }));
  if (has(answer.localized)) parts.push(element("span", { className: answer.localized ? "good" : "bad", textContent: answer.localized ? "✓" : "✗", title: answer.localized ? "the point is on it" : "the point misses it" }));
  if (!parts.length) parts.push(element("span", { className: "note", textContent: answer.score.toFixed(3) }));
  if (answer.present === false) parts.push(element("span", { className: "note", textContent: " not there", title: "at its peak, a negative phrase is more similar" }));
  return element("span", {}, ...parts);
}

function show() {
  const { view, answer } = current();
  state.phrase = answer?.phrase ?? state.phrase;
  const big = $("big");
  big.style.maxWidth = `min(100%, calc(74vh * ${view.width / view.height}))`;
  big.replaceChildren(...layers(view, answer, options()));
  $("where").textContent = `${view.image} · ${view.split} view`;
  $("value").textContent = answer ? `“${answer.phrase}” · level ${answer.level} · score ${answer.score.toFixed(3)}` : "";
  $("phrases").replaceChildren(...view.answers.map((a) => element("li", {}, element("button", {
    type: "button", ariaCurrent: String(a === answer), onclick: () => { state.phrase = a.phrase; show(); },
  },
  element("span", { className: "name", textContent: a.phrase }), verdict(a),
  element("span", { className: "meter", title: `score ${a.score.toFixed(3)}, level ${a.level}` }, element("i", { style: `width:${percent(a.score)}%` }))))));
  [...$("film").children].forEach((button, i) => { button.ariaCurrent = String(i === state.view); });
}

function go(view, phrase) {
  state.view = view;
  if (phrase) state.phrase = phrase;
  show();
}

function step(dView, dPhrase) {
  const { view, answer } = current();
  if (dView) go((state.view + dView + views.length) % views.length);
  else if (answer) go(state.view, view.answers[(view.answers.indexOf(answer) + dPhrase + view.answers.length) % view.answers.length].phrase);
  $("film").children[state.view].scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function hover(event) {
  const { view, answer } = current();
  if (!answer) return;
  const box = $("big").getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  if (x < 0 || y < 0 || x >= 1 || y >= 1) return;
  const { width, height, values } = await grey(answer);
  const t = values[Math.floor(y * height) * width + Math.floor(x * width)] / 255;
  const relevancy = answer.low + t * (answer.high - answer.low);
  $("value").textContent = `relevancy ${relevancy.toFixed(3)} at ${Math.floor(x * view.width)}, ${Math.floor(y * view.height)}`;
}

/* Gallery and tables. */

const lazily = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach(({ target }) => {
  lazily.unobserve(target);
  const { view, answer } = target.answered;
  target.replaceChildren(...layers(view, answer, { opacity: 0.7, spotlight: 0, mask: true, truth: true, point: true }));
}), { rootMargin: "400px" });

const orders = {
  "by view": () => 0,
  "highest score first": (a, b) => b.answer.score - a.answer.score,
  ...(metrics.queries ? { "worst mask first": (a, b) => (a.answer.iou ?? 2) - (b.answer.iou ?? 2), "best mask first": (a, b) => (b.answer.iou ?? -1) - (a.answer.iou ?? -1), "misses first": (a, b) => (a.answer.localized ?? 2) - (b.answer.localized ?? 2) } : {}),
};

function gallery() {
  const chosen = $("filter").value;
  const items = views.flatMap((view, index) => view.answers.map((answer) => ({ view, index, answer })));
  const cards = items.filter(({ answer }) => !chosen || answer.phrase === chosen).sort(orders[$("order").value]).map((item) => {
    const frame = element("figure", { className: "frame", style: `aspect-ratio:${item.view.width}/${item.view.height}` });
    frame.answered = item;
    lazily.observe(frame);
    return element("button", { className: "card", type: "button", onclick: () => { go(item.index, item.answer.phrase); $("big").scrollIntoView({ behavior: "smooth", block: "center" }); } },
      frame, element("div", { className: "caption" }, element("b", { textContent: item.answer.phrase }), verdict(item.answer), element("span", { className: "note", textContent: item.view.image })));
  });
  $("gallery").replaceChildren(...cards);
}

function sortable(table, columns, records, onclick) {
  let sorted = { column: null, falling: false };
  const body = element("tbody");
  const heads = columns.map((column) => element("th", { className: column.words ? "words" : "", scope: "col" }, element("button", { type: "button", textContent: column.name, onclick: () => {
    sorted = { column, falling: sorted.column === column ? !sorted.falling : !column.words };
    fill();
  } })));
  function fill() {
    const order = [...records];
    if (sorted.column) {
      const value = sorted.column.value;
      const empty = (x) => x === undefined || x === null;
      order.sort((a, b) => {
        const [p, q] = [value(a), value(b)];
        if (empty(p) || empty(q)) return empty(p) - empty(q);
        return (typeof p === "string" ? p.localeCompare(q) : p - q) * (sorted.falling ? -1 : 1);
      });
    }
    columns.forEach((column, i) => column === sorted.column ? heads[i].setAttribute("aria-sort", sorted.falling ? "descending" : "ascending") : heads[i].removeAttribute("aria-sort"));
    body.replaceChildren(...order.map((record) => element("tr", onclick ? { className: "link", onclick: () => onclick(record) } : {}, ...columns.map((column) => {
      const value = column.value(record);
      return element("td", { className: column.words ? "words" : "", textContent: has(value) ? (column.text ?? String)(value) : "–" });
    }))));
  }
  table.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
  fill();
}

const mean = (values) => values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;

function tables() {
  const { rows } = metrics;
  const optional = (name, column) => rows.some((row) => has(row[name])) ? [column] : [];
  const per = [...new Set(rows.map((row) => row.phrase))].map((phrase) => {
    const own = rows.filter((row) => row.phrase === phrase);
    const of = (name) => own.map((row) => row[name]).filter(has);
    return { phrase, views: own.length, score: mean(of("score")), best: Math.max(...of("score")), hits: mean(of("localized").map(Number)), iou: mean(of("iou")), argmax: mean(of("argmax_iou")), shuffled: mean(of("shuffled_iou")) };
  });
  sortable($("by-phrase"), [
    { name: "phrase", words: true, value: (r) => r.phrase }, { name: "views", value: (r) => r.views },
    { name: "mean score", value: (r) => r.score, text: (x) => x.toFixed(3) }, { name: "best score", value: (r) => r.best, text: (x) => x.toFixed(3) },
    ...optional("localized", { name: "localised %", value: (r) => r.hits, text: percent }), ...optional("iou", { name: "mIoU %", value: (r) => r.iou, text: percent }),
    ...optional("argmax_iou", { name: "arg-max mIoU %", value: (r) => r.argmax, text: percent }), ...optional("shuffled_iou", { name: "control mIoU %", value: (r) => r.shuffled, text: percent }),
  ], per, ({ phrase }) => { $("filter").value = phrase; gallery(); $("gallery").scrollIntoView({ behavior: "smooth", block: "start" }); });
  sortable($("rows"), [
    { name: "view", words: true, value: (r) => r.image }, { name: "split", words: true, value: (r) => r.split }, { name: "phrase", words: true, value: (r) => r.phrase },
    { name: "level", words: true, value: (r) => r.level }, { name: "score", value: (r) => r.score, text: (x) => x.toFixed(3) },
    { name: "point", value: (r) => r.point.join(", ") }, { name: "mask %", value: (r) => r.area, text: percent },
    ...optional("localized", { name: "localised", value: (r) => has(r.localized) ? Number(r.localized) : undefined, text: (x) => x ? "✓" : "✗" }),
    ...optional("iou", { name: "IoU %", value: (r) => r.iou, text: percent }), ...optional("argmax_iou", { name: "arg-max IoU %", value: (r) => r.argmax_iou, text: percent }),
    ...optional("shuffled_iou", { name: "control IoU %", value: (r) => r.shuffled_iou, text: percent }),
  ], rows, (row) => {
    const index = views.findIndex((view) => view.image === row.image);
    if (index >= 0) { go(index, row.phrase); $("big").scrollIntoView({ behavior: "smooth", block: "center" }); }
  });
}

/* Words and figures around them. */

function introduce() {
  const splits = Object.entries(metrics.rows.reduce((count, row) => ({ ...count, [row.split]: (count[row.split] ?? new Set()).add(row.image) }), {}));
  document.title = `${metrics.scene}: answers`;
  $("title").textContent = metrics.scene;
  $("eyebrow").textContent = { lerf_ovs: "LERF-OVS protocol", "3d_ovs": "3D-OVS protocol" }[metrics.protocol] ?? "Text queries";
  const omitted = DATA.omitted ? ` The pictures show the ${views.length} views with the highest scores; the tables list all.` : "";
  $("lede").textContent = `${metrics.phrases} phrase${metrics.phrases === 1 ? "" : "s"} in ${splits.map(([name, images]) => `${images.size} ${name} view${images.size === 1 ? "" : "s"}`).join(" and ")}.${omitted}`;
  const seconds = metrics.seconds_per_view, total = seconds.render + seconds.relevancy + seconds.answer;
  const tiles = [];
  if (metrics.queries) {
    tiles.push([percent(metrics.localization_accuracy), "%", `localisation accuracy, ${metrics.localization_hits} of ${metrics.queries}`], [percent(metrics.miou), "%", "mIoU of the masks"]);
    if (has(metrics.argmax_miou)) tiles.push([percent(metrics.argmax_miou), "%", "mIoU, best class per pixel"]);
    if (has(metrics.shuffled_miou)) tiles.push([percent(metrics.shuffled_miou), "%", "mIoU with phrases permuted, the control"]);
  }
  const time = (s) => s < 10 ? [(1000 * s).toFixed(0), "ms"] : [s.toFixed(1), "s"];
  tiles.push([...time(total), `per view, all phrases; ${time(seconds.render).join(" ")} of it rendering`]);
  $("tiles").replaceChildren(...tiles.map(([value, unit, text]) => element("div", { className: "tile" }, element("b", { textContent: `${value} ` }, element("small", { textContent: unit })), element("span", { textContent: text }))));
  const told = Object.entries(settings).filter(([, value]) => has(value) && value !== false && !(Array.isArray(value) && !value.length));
  $("settings").replaceChildren(...told.flatMap(([name, value]) => [element("dt", { textContent: name.replaceAll("_", " ") }), element("dd", { textContent: Array.isArray(value) ? value.join(", ") : String(value) })]));
}

function prepare() {
  introduce();
  $("truth-switch").hidden = !views.some((view) => view.answers.some((a) => a.truth));
  $("classes-switch").hidden = !classes.length;
  $("legend").replaceChildren(...classes.map(({ name, color }) => element("span", {}, element("i", { style: `background:${color}` }), name)));
  const ramp = $("ramp").getContext("2d");
  turbo.forEach(([r, g, b], x) => { ramp.fillStyle = `rgb(${r},${g},${b})`; ramp.fillRect(x, 0, 1, 1); });
  $("film").replaceChildren(...views.map((view, i) => element("button", { type: "button", title: view.image, onclick: () => go(i) }, element("img", { src: view.photo, alt: view.image, loading: "lazy" }))));
  $("filter").replaceChildren(element("option", { value: "", textContent: "all" }), ...phrases.map((phrase) => element("option", { value: phrase, textContent: phrase })));
  $("order").replaceChildren(...Object.keys(orders).map((name) => element("option", { value: name, textContent: name })));
  for (const id of ["opacity", "spotlight", "show-mask", "show-truth", "show-point", "show-classes"]) $(id).addEventListener("input", show);
  for (const id of ["filter", "order"]) $(id).addEventListener("change", gallery);
  $("big").addEventListener("pointermove", hover);
  $("big").addEventListener("pointerleave", show);
  addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || /INPUT|SELECT/.test(event.target.tagName)) return;
    event.preventDefault();
    step(...move);
  });
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").onclick = () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  };
  state.phrase = [...views[0].answers].sort((a, b) => b.score - a.score)[0]?.phrase;
  show();
  gallery();
  tables();
}

prepare();
