"use strict";
/* Maps of two or three inputs, designs and data on parallel axes, and what lies around the chosen design. */
(function (own) {
  const { html, svg } = own;
  const CELLS = 44;

  // Maps

  class Contours {
    constructor(content, space, model, profiler, root) {
      Object.assign(this, { content, space, model, profiler, root });
      const free = space.variables.map((v, j) => j).filter((j) => !space.variables[j].fixed && space.choices(space.variables[j]) === null);
      if (free.length < 2) {
        root.append(html("p", {}, "A map takes two numeric inputs that may vary."));
        return;
      }
      const order = this.ranked(free);
      this.output = this.firstOutput();
      [this.a, this.b] = order;
      this.mixture = this.mixtureOf(free);
      this.c = -1;
      if (this.mixture && this.mixture.length >= 3) [this.a, this.b, this.c] = order.filter((j) => this.mixture.includes(j)).slice(0, 3);
      const names = (list) => list.map((j) => [String(j), space.variables[j].label]);
      const outputs = content.outputs.map((o, m) => [String(m), o.label]);
      const bar = html("div", { class: "toolbar" });
      const again = (key) => (value) => {
        this[key] = Number(value);
        if (key !== "output") this.settle(key);
        this.draw();
      };
      this.selects = {};
      const add = (key, label, options) => {
        const made = own.choice(label, options, String(this[key]), again(key));
        this.selects[key] = made.select;
        bar.append(made.root);
      };
      add("output", "output", outputs);
      add("a", "across", names(free));
      add("b", "up", names(free));
      if (this.mixture && this.mixture.length >= 3) add("c", "third of a mixture", [["-1", "none"], ...names(this.mixture)]);
      this.figure = html("div", { class: "map" });
      root.append(bar, this.figure);
      this.free = free;
      profiler.listeners.push(() => this.draw());
      this.draw();
    }

    /** Inputs, those first that matter most for the outputs that are asked for. */
    ranked(free) {
      const { influence, outputs } = this.content;
      if (!influence) return free;
      const asked = outputs.map((o, m) => m).filter((m) => outputs[m].target);
      const rows = asked.length ? asked : outputs.map((_, m) => m);
      const weight = (j) => Math.max(...rows.map((m) => influence.total[m][j] || 0));
      return [...free].sort((p, q) => weight(q) - weight(p));
    }

    firstOutput() {
      return Math.max(this.content.outputs.findIndex((o) => o.target), 0);
    }

    /** The inputs that add up to a whole, alike, where there are three or more. */
    mixtureOf(free) {
      for (const row of this.space.rows) {
        if (row.lower !== row.upper) continue;
        const inside = free.filter((j) => row.row[this.space.variables[j].start] !== 0);
        const sizes = new Set(inside.map((j) => row.row[this.space.variables[j].start]));
        if (inside.length >= 3 && sizes.size === 1) {
          this.row = row;
          return inside;
        }
      }
      return null;
    }

    /** Let no input be on two axes. */
    settle(changed) {
      for (const key of ["a", "b", "c"]) {
        if (key === changed || this[key] < 0) continue;
        const taken = ["a", "b", "c"].filter((k) => k !== key).map((k) => this[k]);
        const from = this.c >= 0 && this.mixture ? this.mixture : this.free;
        if (taken.includes(this[key]) || (this.c >= 0 && !this.mixture.includes(this[key]))) {
          this[key] = from.find((j) => !taken.includes(j));
          this.selects[key].value = String(this[key]);
        }
      }
    }

    draw() {
      if (this.c >= 0) this.triangle();
      else this.square();
    }

    /** The designs of a grid, and whether each is allowed. */
    ask(points) {
      const e = this.space.width;
      const batch = new Float64Array(points.length * e);
      points.forEach((x, i) => batch.set(x, i * e));
      return this.model.predict(batch, points.length).mean;
    }

    /** How far inside all that is wanted outputs lie, in shares of their ranges; negative outside. */
    margin(mean, at) {
      let least = NaN;
      for (const w of this.profiler.wishes) {
        const slack = Math.max(w.tolerance || 0, 1e-6 * (w.range || 0));
        const room = (end) => (end + slack) / (w.range || 1);
        const value = mean[at + w.output];
        if (w.lower !== null) least = Math.min(Number.isNaN(least) ? Infinity : least, room(value - w.lower));
        if (w.upper !== null) least = Math.min(Number.isNaN(least) ? Infinity : least, room(w.upper - value));
      }
      return least;
    }

    square() {
      const { space } = this;
      const [va, vb] = [space.variables[this.a], space.variables[this.b]];
      const m = this.content.outputs.length;
      const xs = axis(va);
      const ys = axis(vb);
      const points = [];
      const others = this.profiler.x;
      for (const y of ys) {
        for (const x of xs) {
          const p = Float64Array.from(others);
          p[va.start] = x;
          p[vb.start] = y;
          points.push(this.tied(p));
        }
      }
      const allowed = points.map((p) => space.holds(p));
      const mean = this.ask(points);
      const z = points.map((_, i) => (allowed[i] ? mean[i * m + this.output] : NaN));
      const margin = points.map((_, i) => (allowed[i] ? this.margin(mean, i * m) : NaN));
      const fine = margin.map((v) => v >= 0);
      const width = Math.min(Math.max(this.figure.clientWidth || 520, 280), 620);
      const height = Math.round(width * 0.72);
      const output = this.content.outputs[this.output];
      const plot = own.figure({
        width,
        height,
        left: 60,
        x: { low: va.lower, high: va.upper, name: va.label, log: va.log && va.lower > 0 },
        y: { low: vb.lower, high: vb.upper, name: vb.label, log: vb.log && vb.lower > 0 },
        title: output.label,
        description: `${output.name} over ${va.name} and ${vb.name}, the other inputs as the sliders stand`,
      });
      const [low, high] = own.extent(z, 0);
      const image = picture(xs.length, ys.length, (i, k) => {
        const at = (ys.length - 1 - k) * xs.length + i;
        if (!Number.isFinite(z[at])) return null;
        const colour = own.colour((z[at] - low) / (high - low || 1));
        return fine[at] ? colour.map((c) => Math.round(0.68 * c + 0.32 * 255)) : colour;
      });
      const { area, X, Y } = plot;
      const layer = svg("g");
      layer.append(svg("image", { x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top, preserveAspectRatio: "none", href: image }));
      const at = (i, k) => [X(xs[0] === undefined ? 0 : between(xs, i)), Y(between(ys, k))];
      for (const level of own.ticks(low, high, 7)) layer.append(lines(z, xs.length, ys.length, level, at, "contour"));
      layer.append(lines(margin, xs.length, ys.length, 0, at, "meets-edge"));
      this.marks(layer, (x) => [X(x[va.start]), Y(x[vb.start])]);
      plot.root.insertBefore(layer, plot.root.querySelector(".axis"));
      this.figure.replaceChildren(plot.root, this.legend(low, high, output, fine));
    }

    /** Let the other inputs of a constraint make up for what two have moved. */
    tied(p) {
      if (!this.space.constrained || this.space.holds(p)) return p;
      const held = [this.a, this.b].map((j) => this.space.variables[j]);
      const kept = held.map((v) => v.fixed);
      held.forEach((v) => (v.fixed = true));
      const found = this.space.repaired(p, -1);
      held.forEach((v, i) => (v.fixed = kept[i]));
      return found;
    }

    triangle() {
      const { space } = this;
      const three = [this.a, this.b, this.c].map((j) => space.variables[j]);
      const here = this.profiler.x;
      const whole = three.reduce((sum, v) => sum + here[v.start], 0);
      const m = this.content.outputs.length;
      const width = Math.min(Math.max(this.figure.clientWidth || 520, 280), 560);
      const side = width - 90;
      const top = 30;
      const height = Math.round(side * 0.866) + 75;
      const corner = [[45, top + side * 0.866], [45 + side, top + side * 0.866], [45 + side / 2, top]];
      const place = (s) => [0, 1].map((k) => corner[0][k] * s[0] + corner[1][k] * s[1] + corner[2][k] * s[2]);
      const n = 36;
      const parts = [];
      const index = new Map();
      for (let i = 0; i <= n; i++) {
        for (let k = 0; k <= n - i; k++) {
          index.set(`${i},${k}`, parts.length);
          parts.push([i / n, k / n, (n - i - k) / n]);
        }
      }
      const points = parts.map((s) => {
        const p = Float64Array.from(here);
        three.forEach((v, q) => (p[v.start] = s[q] * whole));
        return p;
      });
      const inBounds = (p) => three.every((v) => p[v.start] >= v.lower - 1e-9 && p[v.start] <= v.upper + 1e-9);
      const allowed = points.map((p) => inBounds(p) && space.holds(p));
      const mean = this.ask(points);
      const z = points.map((_, i) => (allowed[i] ? mean[i * m + this.output] : NaN));
      const fine = points.map((_, i) => allowed[i] && this.margin(mean, i * m) >= 0);
      const [low, high] = own.extent(z, 0);
      const output = this.content.outputs[this.output];
      const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "figure", "aria-label": `${output.name} over the mixture of ${three.map((v) => v.name).join(", ")}` });
      const cell = (keys) => {
        const which = keys.map((key) => index.get(key));
        const values = which.map((i) => z[i]);
        if (!values.every(Number.isFinite)) return;
        const plain = own.colour((values.reduce((p, q) => p + q, 0) / 3 - low) / (high - low || 1));
        const colour = which.every((i) => fine[i]) ? plain.map((c) => Math.round(0.68 * c + 0.32 * 255)) : plain;
        const d = which.map((i, k) => `${k ? "L" : "M"}${place(parts[i]).map((v) => v.toFixed(1)).join(" ")}`).join("");
        const fill = `rgb(${colour.join(",")})`;
        root.append(svg("path", { d: `${d}Z`, fill, stroke: fill }));
      };
      for (let i = 0; i < n; i++) {
        for (let k = 0; k < n - i; k++) {
          cell([`${i},${k}`, `${i + 1},${k}`, `${i},${k + 1}`]);
          if (k < n - i - 1) cell([`${i + 1},${k}`, `${i + 1},${k + 1}`, `${i},${k + 1}`]);
        }
      }
      root.append(svg("path", { d: `M${corner.map((c) => c.join(" ")).join("L")}Z`, class: "axis-line" }));
      three.forEach((v, q) => {
        const [x, y] = corner[q];
        const words = `${own.shortened(v.name, 20)} ${own.text(whole, whole / 1000)}`;
        root.append(svg("text", { x: q === 2 ? x : x + (q ? 30 : -30), y: q === 2 ? y - 10 : y + 20, "text-anchor": q === 2 ? "middle" : q ? "end" : "start", class: "axis-name" }, words));
      });
      const layer = svg("g");
      this.marks(layer, (x) => {
        const sum = three.reduce((s, v) => s + x[v.start], 0);
        return sum > 0 ? place(three.map((v) => x[v.start] / sum)) : [NaN, NaN];
      });
      root.append(layer);
      this.figure.replaceChildren(root, this.legend(low, high, output, fine));
    }

    marks(layer, at) {
      const { data, designs } = this.content;
      for (const x of data ? data.x.slice(0, 500) : []) {
        const [px, py] = at(x);
        if (Number.isFinite(px)) layer.append(svg("circle", { cx: px.toFixed(1), cy: py.toFixed(1), r: 1.8, class: "datum" }));
      }
      designs.forEach((d, i) => {
        const [px, py] = at(d.x);
        if (Number.isFinite(px)) layer.append(svg("circle", { cx: px, cy: py, r: 5, class: "design-mark" }), svg("text", { x: px + 8, y: py + 4, class: "mark-name" }, String(i + 1)));
      });
      const [px, py] = at(this.profiler.x);
      if (Number.isFinite(px)) layer.append(svg("path", { d: `M${px - 8} ${py}h16M${px} ${py - 8}v16`, class: "cross-mark" }));
    }

    legend(low, high, output, fine) {
      const bar = html("span", { class: "ramp" });
      const stops = [0, 0.25, 0.5, 0.75, 1].map((t) => `rgb(${own.colour(t).join(",")})`);
      bar.style.background = `linear-gradient(to right, ${stops.join(",")})`;
      const unit = (high - low) / 200;
      const key = html("p", { class: "legend" }, own.text(low, unit), " ", bar, " ", own.text(high, unit));
      const wanted = fine.some(Boolean) ? "lighter: all that is wanted is met; " : "";
      return html("div", {}, key, html("p", { class: "legend" }, `${wanted}cross: where the sliders stand; numbered: designs; dots: measured rows (they differ in the other inputs)`));
    }
  }

  function axis(v) {
    const log = v.log && v.lower > 0;
    return Array.from({ length: CELLS }, (_, i) => {
      const t = i / (CELLS - 1);
      return log ? v.lower * (v.upper / v.lower) ** t : v.lower + t * (v.upper - v.lower);
    });
  }

  const between = (xs, i) => {
    const k = Math.min(Math.floor(i), xs.length - 2);
    return xs[k] + (i - k) * (xs[k + 1] - xs[k]);
  };

  function picture(w, h, colour) {
    const canvas = html("canvas", { width: w, height: h });
    const context = canvas.getContext("2d");
    const image = context.createImageData(w, h);
    for (let k = 0; k < h; k++) {
      for (let i = 0; i < w; i++) {
        const found = colour(i, k);
        const at = 4 * (k * w + i);
        if (found) image.data.set([...found, 255], at);
      }
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  }

  /** The line on which a grid has a level (marching squares). */
  function lines(z, w, h, level, at, kind) {
    const d = [];
    const cross = (p, q) => (level - p) / (q - p);
    for (let k = 0; k < h - 1; k++) {
      for (let i = 0; i < w - 1; i++) {
        const v = [z[k * w + i], z[k * w + i + 1], z[(k + 1) * w + i + 1], z[(k + 1) * w + i]];
        if (!v.every(Number.isFinite)) continue;
        const edges = [];
        if (v[0] > level !== v[1] > level) edges.push(at(i + cross(v[0], v[1]), k));
        if (v[1] > level !== v[2] > level) edges.push(at(i + 1, k + cross(v[1], v[2])));
        if (v[3] > level !== v[2] > level) edges.push(at(i + cross(v[3], v[2]), k + 1));
        if (v[0] > level !== v[3] > level) edges.push(at(i, k + cross(v[0], v[3])));
        for (let s = 0; s + 1 < edges.length; s += 2) {
          d.push(`M${edges[s].map((p) => p.toFixed(1)).join(" ")}L${edges[s + 1].map((p) => p.toFixed(1)).join(" ")}`);
        }
      }
    }
    return svg("path", { d: d.join(""), class: kind });
  }

  // Parallel axes

  class Parallel {
    constructor(content, space, profiler, root) {
      Object.assign(this, { content, space, profiler, root });
      this.filters = new Map();
      const asked = content.outputs.map((o, m) => m).sort((p, q) => (content.outputs[q].target !== null) - (content.outputs[p].target !== null));
      const free = space.variables.map((v, j) => j).filter((j) => !space.variables[j].fixed);
      this.axes = [
        ...free.map((j) => ({ name: space.variables[j].label, input: j })),
        ...asked.map((m) => ({ name: content.outputs[m].label, output: m })),
      ];
      this.rows = (content.data ? content.data.x : []).slice(0, 400).map((x, i) => ({ x, y: content.data.y[i] }));
      this.designs = content.designs.map((d) => ({ x: d.x, y: content.outputs.map((o) => (d.outputs.find((p) => p.name === o.name) || {}).value) }));
      this.figure = html("div", { class: "parallel" });
      this.count = html("p", { class: "legend", role: "status" });
      const width = root.clientWidth || 900;
      this.most = Math.max(3, Math.min(12, Math.floor(width / 85)));
      const pager = own.pager(this.axes, this.most, (a) => a.name, (some) => ((this.shown = some), this.draw()), "axes");
      const clear = html("button", { type: "button", onclick: () => (this.filters.clear(), this.draw()) }, "clear the filters");
      root.append(html("div", { class: "toolbar" }, clear), pager.root, this.figure, this.count);
      pager.start();
    }

    value(axis, row) {
      return axis.input === undefined ? row.y[axis.output] : this.space.value(row.x, this.space.variables[axis.input]);
    }

    passes(row) {
      for (const [axis, [low, high]] of this.filters) {
        const value = this.value(axis, row);
        if (value === null || value === undefined || value < low || value > high) return false;
      }
      return true;
    }

    draw() {
      const width = Math.max(this.figure.clientWidth || 900, 280);
      const height = 300;
      const [top, bottom] = [34, height - 26];
      const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "figure", role: "img", "aria-label": "designs and measured rows on parallel axes" });
      const step = (width - 80) / Math.max(this.shown.length - 1, 1);
      const at = this.shown.map((axis, i) => {
        const v = axis.input === undefined ? null : this.space.variables[axis.input];
        const choices = v && this.space.choices(v);
        const values = [...this.rows, ...this.designs].map((row) => this.value(axis, row));
        if (v && !choices) values.push(v.lower, v.upper);
        const [low, high] = choices ? [-0.3, v.levels.length - 0.7] : own.extent(values, 0);
        const log = Boolean(v && !choices && v.log && low > 0);
        return { x: 40 + i * step, Y: own.scale(low, high, bottom, top, log), v, choices };
      });
      const line = (row) => {
        const d = [];
        this.shown.forEach((axis, i) => {
          const value = this.value(axis, row);
          if (value !== null && value !== undefined) d.push(`${d.length ? "L" : "M"}${at[i].x.toFixed(1)} ${at[i].Y(value).toFixed(1)}`);
        });
        return d.join("");
      };
      const chosen = this.rows.filter((row) => this.passes(row));
      root.append(svg("path", { d: this.rows.map(line).join(""), class: "line-out" }));
      root.append(svg("path", { d: chosen.map(line).join(""), class: "line-in" }));
      this.designs.forEach((row, i) => root.append(svg("path", { d: line(row), class: `line-design${this.passes(row) ? "" : " off"}${i ? "" : " first"}` }, svg("title", {}, this.profiler.called(i)))));
      this.shown.forEach((axis, i) => {
        const { x, Y, v, choices } = at[i];
        root.append(svg("path", { d: `M${x} ${top}V${bottom}`, class: "axis-line" }));
        root.append(svg("text", { x, y: i % 2 ? 12 : 24, "text-anchor": "middle", class: "axis-name" }, own.shortened(axis.name, Math.max(Math.floor((2 * step) / 8), 6))));
        const ends = choices ? [this.space.text(v, choices[0]), this.space.text(v, choices[choices.length - 1])] : [own.text(Y.low, (Y.high - Y.low) / 200), own.text(Y.high, (Y.high - Y.low) / 200)];
        root.append(svg("text", { x, y: bottom + 14, "text-anchor": "middle" }, own.shortened(ends[0], 9)));
        root.append(svg("text", { x: x + 4, y: top + 4 }, own.shortened(ends[1], 9)));
        const brush = this.filters.get(axis);
        if (brush) root.append(svg("rect", { x: x - 7, width: 14, y: Y(brush[1]), height: Math.max(Y(brush[0]) - Y(brush[1]), 2), class: "brush" }));
        const zone = svg("rect", { x: x - 14, y: top, width: 28, height: bottom - top, class: "brush-zone", tabindex: 0, role: "slider", "aria-label": `filter ${axis.name}: up and down arrows move the filter, Delete clears it`, "aria-valuetext": brush ? `${own.text(brush[0], 0)} to ${own.text(brush[1], 0)}` : "no filter" });
        this.brushable(zone, axis, Y, root, [top, bottom], height);
        root.append(zone);
      });
      this.figure.replaceChildren(root);
      const total = this.content.data ? this.content.data.total : 0;
      const part = total > this.rows.length ? ` (some of ${total})` : "";
      this.count.textContent = `${chosen.length} of ${this.rows.length} measured rows${part} and ${this.designs.filter((r) => this.passes(r)).length} of ${this.designs.length} designs pass. Drag along an axis to filter.`;
    }

    brushable(zone, axis, Y, root, [top, bottom], height) {
      let from = null;
      const pixel = (event) => {
        const box = root.getBoundingClientRect();
        return Math.min(Math.max(((event.clientY - box.top) * height) / box.height, top), bottom);
      };
      zone.addEventListener("pointerdown", (event) => {
        from = pixel(event);
        event.preventDefault();
        const move = (e) => {
          const to = pixel(e);
          const ends = [Y.back(Math.max(from, to)), Y.back(Math.min(from, to))];
          if (Math.abs(to - from) > 3) this.filters.set(axis, ends);
          else this.filters.delete(axis);
          cancelAnimationFrame(this.frame);
          this.frame = requestAnimationFrame(() => this.draw());
        };
        const end = () => {
          window.removeEventListener("pointermove", move);
          window.removeEventListener("pointerup", end);
          if (event.type === "pointerdown" && !this.filters.has(axis)) this.draw();
        };
        window.addEventListener("pointermove", move);
        window.addEventListener("pointerup", end);
      });
      zone.addEventListener("keydown", (event) => {
        const span = Y.high - Y.low;
        const [low, high] = this.filters.get(axis) || [Y.low, Y.low + span / 4];
        const by = { ArrowUp: span / 20, ArrowDown: -span / 20 }[event.key];
        if (by !== undefined) this.filters.set(axis, [low + by, high + by]);
        else if (event.key === "Delete" || event.key === "Backspace") this.filters.delete(axis);
        else return;
        event.preventDefault();
        const place = this.shown.indexOf(axis);
        this.draw();
        this.figure.querySelectorAll(".brush-zone")[place].focus();
      });
    }
  }

  // Around the chosen design

  function around(content, space, profiler, root) {
    const box = html("div", {});
    root.append(box);
    const show = () => {
      const design = content.designs[profiler.chosen];
      box.replaceChildren();
      if (!design || !design.tolerance) {
        box.append(html("p", {}, content.table ? "The surroundings are looked at for a single target alone." : "Nothing is known of the surroundings: the design misses the target, or nothing but a maximum or minimum is asked for."));
        return;
      }
      box.append(html("p", { class: "legend" }, `Design ${profiler.chosen + 1}: how far each input may move alone while the prediction still meets the target.`));
      const table = html("div", { class: "bars" });
      space.variables.forEach((v) => {
        const ends = design.tolerance[v.name];
        if (!ends) return;
        const line = html("div", { class: "bar-line" });
        const numbers = ends.length === 2 && ends.every((e) => typeof e === "number") && space.choices(v) === null;
        if (numbers) {
          const X = own.scale(v.lower, v.upper, 0, 100, v.log && v.lower > 0);
          const left = X(ends[0]);
          const part = html("span", { class: "bar-part" });
          part.style.left = `${left}%`;
          part.style.width = `${Math.max(X(ends[1]) - left, 0.6)}%`;
          const mark = html("span", { class: "bar-mark" });
          mark.style.left = `${X(design.x[v.start])}%`;
          line.append(part, mark);
        }
        const words = (design.inputs.find((i) => i.name === v.name) || {}).tolerance || "can't move alone";
        table.append(html("span", { class: "bar-name" }, v.label), numbers ? line : html("span", {}), html("span", { class: "bar-words" }, words));
      });
      box.append(table);
      if (design.free && design.free.length) {
        box.append(html("p", { class: "legend" }, `Free directions: along ${design.free.length === 1 ? "this one" : "these"} the prediction stays, at first. Steps are shown in shares of each input's range.`));
        design.free.slice(0, 8).forEach((direction, i) => {
          const bars = html("div", { class: "bars" });
          const steps = Object.entries(direction).map(([name, step]) => [name, step, step / space.range(space.variables.find((v) => v.name === name) || { lower: 0, upper: 1 })]);
          const largest = Math.max(...steps.map((s) => Math.abs(s[2]))) || 1;
          for (const [name, step, share] of steps) {
            const part = html("span", { class: `bar-part ${share < 0 ? "down" : "up"}` });
            const size = (50 * Math.abs(share)) / largest;
            part.style.left = `${share < 0 ? 50 - size : 50}%`;
            part.style.width = `${size}%`;
            bars.append(html("span", { class: "bar-name" }, name), html("div", { class: "bar-line middle" }, part), html("span", { class: "bar-words" }, `${step > 0 ? "+" : ""}${own.text(step, Math.abs(step) * 1e-3)}`));
          }
          box.append(html("h4", {}, `direction ${i + 1}`), bars);
        });
      } else box.append(html("p", { class: "legend" }, "There is no free direction: any move changes what is asked for."));
    };
    profiler.listeners.push(show);
    show();
  }

  own.Contours = Contours;
  own.Parallel = Parallel;
  own.around = around;
})(Invdesign);
