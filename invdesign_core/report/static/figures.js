"use strict";
/* Elements, scales and axes. Every text goes in as text, never as HTML. */
(function (own) {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key in node && ["value", "checked", "disabled", "selected", "hidden"].includes(key)) node[key] = value;
      else node.setAttribute(key, value === true ? "" : String(value));
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
    return node;
  }
  const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  own.html = html;
  own.svg = svg;

  /** Numbers for the marks of an axis. */
  function ticks(low, high, count) {
    const span = high - low;
    if (!(span > 0)) return [low];
    const raw = span / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((s) => s * power >= raw);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++) {
      found.push(Number((i * step).toPrecision(12)));
    }
    return found;
  }
  own.ticks = ticks;

  const LOG = (v) => Math.log10(v);

  /** A scale from values to pixels. */
  function scale(low, high, from, to, log = false) {
    const [a, b] = log ? [LOG(low), LOG(high)] : [low, high];
    const span = b - a || 1;
    const at = (value) => from + (((log ? LOG(value) : value) - a) / span) * (to - from);
    at.back = (pixel) => {
      const t = a + ((pixel - from) / (to - from)) * span;
      return log ? 10 ** t : t;
    };
    at.low = low;
    at.high = high;
    at.log = log;
    return at;
  }
  own.scale = scale;

  const shortened = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
  own.shortened = shortened;

  /** An empty figure with axes; x and y are { low, high, name, log }. */
  function figure({ width, height, x, y, title, description, left = 52 }) {
    const area = { left, right: width - 10, top: title ? 24 : 8, bottom: height - 36 };
    const X = scale(x.low, x.high, area.left, area.right, x.log);
    const Y = scale(y.low, y.high, area.bottom, area.top, y.log);
    const root = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      class: "figure",
      "aria-label": description || title || "",
    });
    if (title) root.append(svg("text", { x: area.left, y: 15, class: "figure-title" }, shortened(title, Math.floor((width - left) / 7))));
    const axis = svg("g", { class: "axis" });
    axis.append(svg("path", { d: `M${area.left} ${area.top}V${area.bottom}H${area.right}`, class: "axis-line" }));
    const marks = (side, count) => {
      if (!side.log) return ticks(side.low, side.high, count);
      const powers = [];
      for (let p = Math.ceil(LOG(side.low)); p <= Math.floor(LOG(side.high)); p++) powers.push(10 ** p);
      const every = Math.ceil(powers.length / (count + 1)) || 1;
      return powers.length > 1 ? powers.filter((_, i) => i % every === 0) : [side.low, side.high];
    };
    const written = (value, side) => (side.log ? value.toExponential(0).replace("e+", "e") : own.text(value, (side.high - side.low) / 200));
    for (const value of marks(x, width < 260 ? 3 : 5)) {
      axis.append(svg("path", { d: `M${X(value)} ${area.bottom}v4`, class: "axis-line" }));
      axis.append(svg("text", { x: X(value), y: area.bottom + 15, "text-anchor": "middle" }, x.words ? x.words(value) : written(value, x)));
    }
    for (const value of marks(y, height < 180 ? 3 : 5)) {
      axis.append(svg("path", { d: `M${area.left} ${Y(value)}h-4`, class: "axis-line" }));
      axis.append(svg("text", { x: area.left - 6, y: Y(value) + 4, "text-anchor": "end" }, written(value, y)));
    }
    if (x.name) axis.append(svg("text", { x: (area.left + area.right) / 2, y: height - 5, "text-anchor": "middle", class: "axis-name" }, shortened(x.name, Math.floor(width / 7))));
    if (y.name) {
      const at = (area.top + area.bottom) / 2;
      axis.append(svg("text", { x: 11, y: at, "text-anchor": "middle", transform: `rotate(-90 11 ${at})`, class: "axis-name" }, shortened(y.name, Math.floor(height / 7))));
    }
    root.append(axis);
    return { root, X, Y, area };
  }
  own.figure = figure;

  /** The smallest and largest of some numbers, with a little room. */
  function extent(values, room = 0.05) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value === null || value === undefined || !Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return [0, 1];
    const more = high > low ? (high - low) * room : Math.abs(high) * 0.05 || 1;
    return [low - more, high + more];
  }
  own.extent = extent;

  /** A line through points. */
  own.path = (xs, ys) => xs.map((x, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${ys[i].toFixed(1)}`).join("");

  /** Buttons to page through a list that is too long, with a search; `show` gets the items of a page. */
  function pager(items, size, name, show, label) {
    let first = 0;
    let found = items;
    const count = html("span", { class: "pager-count" });
    const back = html("button", { type: "button", onclick: () => turn(-size) }, "‹");
    const on = html("button", { type: "button", onclick: () => turn(size) }, "›");
    back.setAttribute("aria-label", `previous ${label}`);
    on.setAttribute("aria-label", `next ${label}`);
    const search = html("input", {
      type: "search",
      placeholder: `search ${label}`,
      "aria-label": `search ${label}`,
      oninput: () => {
        const word = search.value.trim().toLowerCase();
        found = word ? items.filter((item) => name(item).toLowerCase().includes(word)) : items;
        first = 0;
        turn(0);
      },
    });
    const root = html("div", { class: "pager" }, back, count, on, search);
    function turn(by) {
      first = Math.max(0, Math.min(first + by, Math.floor(Math.max(found.length - 1, 0) / size) * size));
      const last = Math.min(first + size, found.length);
      count.textContent = found.length ? `${label} ${first + 1} to ${last} of ${found.length}` : `no ${label} found`;
      back.disabled = first === 0;
      on.disabled = last >= found.length;
      show(found.slice(first, last));
    }
    root.hidden = items.length <= size;
    return { root, start: () => turn(0), resize: (to) => ((size = to), (root.hidden = items.length <= size), turn(0)) };
  }
  own.pager = pager;

  /** A labelled choice. */
  own.choice = (label, options, chosen, change) => {
    const select = html("select", { onchange: () => change(select.value) });
    for (const [value, words] of options) select.append(html("option", { value, selected: value === chosen }, words));
    return { root: html("label", { class: "choice" }, html("span", {}, label), select), select };
  };

  /** From a share 0 to 1 to a colour that the colour-blind tell apart too (cividis). */
  const CIVIDIS = [
    [0, 34, 78], [33, 59, 110], [76, 84, 108], [108, 110, 114],
    [142, 137, 120], [178, 165, 112], [217, 195, 93], [254, 232, 56],
  ];
  own.colour = (share) => {
    const t = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
    const i = Math.min(Math.floor(t), CIVIDIS.length - 2);
    return CIVIDIS[i].map((c, k) => Math.round(c + (t - i) * (CIVIDIS[i + 1][k] - c)));
  };
})(Invdesign);
