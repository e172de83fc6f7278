"use strict";
/* Every output over every input, through one design; moving an input computes all curves anew. */
(function (own) {
  const { html, svg } = own;
  const USUAL = 1.645;
  const FINE = 41;
  const COARSE = 17;
  const BUDGET = 40;

  class Profiler {
    constructor(content, space, model, root) {
      this.content = content;
      this.space = space;
      this.model = model;
      this.root = root;
      this.outputs = content.outputs;
      this.wishes = this.wishesOf(content.designs[0]);
      this.second = model && content.second && content.second.model ? new own.Model(content.second.model, this.outputs.length, content.scenarios) : null;
      this.listeners = [];
      this.milliseconds = null;
      this.points = content.designs.length ? content.designs.map((d) => Float64Array.from(d.x)) : [this.middle()];
      this.chosen = 0;
      this.x = Float64Array.from(this.points[0]);
      this.perPoint = 0.02;
      this.half = this.outputs.map((_, m) => this.halfAt(m));
      this.build();
    }

    /** What is wanted of each output: by a target of a table what its design is for, else what the page is about. */
    wishesOf(design) {
      return this.outputs.map((output, m) => {
        const t = design && design.wishes ? design.wishes[output.name] : output.target;
        return { output: m, range: output.range, lower: t ? t.lower : null, upper: t ? t.upper : null, goal: t ? t.goal : null, tolerance: t ? t.tolerance : 0 };
      });
    }

    middle() {
      let x = new Float64Array(this.space.width);
      if (this.content.slices) return Float64Array.from(this.content.slices.points[0]);
      this.space.variables.forEach((v) => {
        const choices = this.space.choices(v);
        x = this.space.put(x, v, choices ? choices[0] : (v.lower + v.upper) / 2);
      });
      const fixed = this.space.repaired(x, -1);
      return this.space.holds(fixed) ? fixed : x;
    }

    /** Half the width of an output's interval: that of the design, else so many typical errors; null where none is known. */
    halfAt(m) {
      const design = this.content.designs[this.chosen];
      const own = design && design.outputs.find((o) => o.name === this.outputs[m].name);
      if (own && own.interval) return (own.interval[1] - own.interval[0]) / 2;
      return this.outputs[m].error === null ? null : USUAL * this.outputs[m].error;
    }

    // The page

    build() {
      const { space } = this;
      this.grid = html("div", { class: "profiler-grid" });
      this.message = html("p", { class: "profiler-message", role: "status", "aria-live": "polite" });
      const names = this.points.map((_, i) => [String(i), this.called(i)]);
      const pick = own.choice("start from", names, "0", (value) => this.pick(Number(value)));
      this.picker = pick.select;
      const buttons = html("div", { class: "toolbar" });
      if (this.content.designs.length) buttons.append(pick.root);
      buttons.append(html("button", { type: "button", onclick: () => this.pick(this.chosen) }, "reset"));
      if (this.model) {
        this.finder = html("button", { type: "button", class: "primary", onclick: () => this.find() }, "find it");
        this.finder.title = "search from where the sliders stand for a design that gives what is wanted";
        buttons.append(this.finder);
      }
      const free = space.variables.map((v, j) => j).filter((j) => !space.variables[j].fixed);
      const outputs = this.outputs.map((_, m) => m);
      outputs.sort((a, b) => (this.outputs[b].target !== null) - (this.outputs[a].target !== null));
      this.shownInputs = [];
      this.shownOutputs = [];
      this.inputPager = own.pager(free, this.columns(), (j) => space.variables[j].label, (some) => ((this.shownInputs = some), this.layOut()), "inputs");
      this.outputPager = own.pager(outputs, 8, (m) => this.outputs[m].label, (some) => ((this.shownOutputs = some), this.layOut()), "outputs");
      this.root.append(buttons, this.message, this.inputPager.root, this.outputPager.root, this.grid);
      this.ready = true;
      this.inputPager.start();
      this.outputPager.start();
      let width = this.root.clientWidth;
      window.addEventListener("resize", () => {
        if (Math.abs(this.root.clientWidth - width) < 8) return;
        width = this.root.clientWidth;
        this.inputPager.resize(this.columns());
      });
    }

    /** How many inputs stand side by side. */
    columns() {
      const width = this.root.clientWidth || 900;
      return Math.max(1, Math.min(10, Math.floor((width - this.side(width)) / (width < 600 ? 118 : 124))));
    }

    side(width) {
      return width < 600 ? 112 : 158;
    }

    layOut() {
      if (!this.ready || !this.shownOutputs.length) return;
      const { space } = this;
      const width = this.root.clientWidth || 900;
      const side = this.side(width);
      const many = Math.max(this.shownInputs.length, 1);
      const cell = Math.floor(Math.min((width - side - 4) / many, 260));
      const height = Math.round(Math.min(Math.max(cell * 0.7, 92), 150));
      this.grid.style.gridTemplateColumns = `${side}px repeat(${many}, ${cell}px)`;
      this.grid.replaceChildren(html("div", { class: "corner" }));
      this.controls = new Map();
      for (const j of this.shownInputs) this.grid.append(this.control(j));
      this.cells = [];
      this.labels = new Map();
      this.ends = new Map();
      for (const m of this.shownOutputs) {
        this.grid.append(this.label(m));
        for (const j of this.shownInputs) {
          const root = svg("svg", { width: cell - 6, height, class: "cell", role: "img" });
          root.append(svg("g"));
          const item = { m, j, root, width: cell - 6, height };
          this.draggable(item);
          this.cells.push(item);
          this.grid.append(html("div", { class: "cell-box" }, root));
        }
      }
      if (space.variables.every((v) => v.fixed)) this.message.textContent = "No input may vary: all are held at one value.";
      this.draw(false);
    }

    control(j) {
      const { space } = this;
      const v = space.variables[j];
      const name = html("div", { class: "input-name", title: v.label }, v.label);
      const choices = space.choices(v);
      if (choices !== null) {
        const select = html("select", { "aria-label": v.name, onchange: () => this.set(j, Number(select.value)) });
        choices.forEach((i) => select.append(html("option", { value: i }, space.text(v, i))));
        this.controls.set(j, { select });
        return html("div", { class: "control" }, name, select);
      }
      const log = v.log && v.lower > 0;
      const step = v.step !== null && !log ? v.step : (log ? Math.log10(v.upper / v.lower) : space.range(v)) / 1000;
      const low = log ? Math.log10(v.lower) : v.lower;
      const high = log ? Math.log10(v.upper) : v.upper;
      const slider = html("input", {
        type: "range",
        min: low,
        max: high,
        step: v.step !== null && !log ? v.step : "any",
        "aria-label": v.name,
        "data-input": v.name,
        oninput: () => this.set(j, log ? 10 ** Number(slider.value) : Number(slider.value), true),
        onchange: () => this.draw(false),
        onkeydown: (event) => {
          const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 50, PageDown: -50 }[event.key];
          if (by === undefined) return;
          event.preventDefault();
          const next = Math.min(Math.max((log ? Math.log10(this.x[v.start]) : this.x[v.start]) + by * step * (v.step === null ? 5 : 1), low), high);
          this.set(j, log ? 10 ** next : next);
        },
      });
      const number = html("input", {
        type: "text",
        inputmode: "decimal",
        "aria-label": `value of ${v.name}`,
        "data-number": v.name,
        onchange: () => {
          const typed = Number(number.value.replace(",", "."));
          if (Number.isFinite(typed) && number.value.trim()) this.set(j, typed);
          else this.refresh();
        },
      });
      this.controls.set(j, { slider, number, log });
      return html("div", { class: "control" }, name, number, slider);
    }

    label(m) {
      const output = this.outputs[m];
      const wish = this.wishes[m];
      const value = html("strong", { "data-output": output.name });
      const met = html("span", { class: "met" });
      const field = (side) => {
        const input = html("input", {
          type: "text",
          inputmode: "decimal",
          placeholder: side === "lower" ? "from" : "to",
          value: wish[side] === null ? "" : own.text(wish[side], 0),
          "aria-label": `${output.name} wanted ${side === "lower" ? "from" : "to"}`,
          onchange: () => {
            const typed = input.value.trim() === "" ? null : Number(input.value.replace(",", "."));
            if (typed !== null && !Number.isFinite(typed)) input.value = wish[side] === null ? "" : own.text(wish[side], 0);
            else {
              wish[side] = typed;
              this.ends.clear();
              this.draw(false);
            }
          },
        });
        return input;
      };
      this.labels.set(m, { value, met });
      const goal = wish.goal ? html("div", { class: "goal" }, wish.goal === "max" ? "as large as possible" : "as small as possible") : null;
      return html(
        "div",
        { class: "output-label" },
        html("div", { class: "output-name", title: output.label }, output.label),
        html("div", { class: "output-value" }, value, " ", met),
        goal,
        html("div", { class: "wanted-fields" }, html("span", {}, "wanted"), field("lower"), field("upper")),
      );
    }

    draggable(item) {
      const v = this.space.variables[item.j];
      const to = (event) => {
        const box = item.root.getBoundingClientRect();
        const pixel = event.clientX - box.left;
        const choices = this.space.choices(v);
        if (choices !== null) {
          const t = (pixel - 6) / (item.width - 12);
          return choices[Math.min(Math.max(Math.floor(t * choices.length), 0), choices.length - 1)];
        }
        return this.across(v, item.width).back(Math.min(Math.max(pixel, 6), item.width - 6));
      };
      item.root.addEventListener("pointerdown", (event) => {
        item.root.setPointerCapture(event.pointerId);
        item.held = true;
        this.set(item.j, to(event), true);
        event.preventDefault();
      });
      item.root.addEventListener("pointermove", (event) => item.held && this.set(item.j, to(event), true));
      for (const end of ["pointerup", "pointercancel"]) {
        item.root.addEventListener(end, () => {
          if (item.held) this.draw(false);
          item.held = false;
        });
      }
    }

    across(v, width) {
      return own.scale(v.lower, v.upper, 6, width - 6, v.log && v.lower > 0);
    }

    // What it shows

    pick(number) {
      this.chosen = number;
      this.picker.value = String(number);
      this.x = Float64Array.from(this.points[number]);
      this.half = this.outputs.map((_, m) => this.halfAt(m));
      this.ends.clear();
      this.message.textContent = "";
      const design = this.content.designs[number];
      if (!design || !design.wishes) return this.draw(false);
      this.wishes = this.wishesOf(design);
      return this.layOut(); // what is wanted stands beside each output
    }

    /** What a design is called. */
    called(number) {
      const design = this.content.designs[number];
      return design && design.target ? `target ${design.target}` : `design ${number + 1}`;
    }

    set(j, value, dragging = false) {
      const v = this.space.variables[j];
      if (!this.model) {
        this.x = this.space.put(this.points[this.chosen], v, value); // curves go through the design alone
        this.message.textContent = `The others are back at ${this.called(this.chosen)}: these curves were computed beforehand.`;
      } else {
        const moved = this.space.move(this.x, j, value);
        this.x = moved.x;
        this.message.textContent = moved.limited ? `${v.name} can't go further: the constraints hold it.` : "";
      }
      if (dragging) {
        if (!this.waiting) {
          this.waiting = requestAnimationFrame(() => {
            this.waiting = null;
            this.draw(true);
          });
        }
      } else this.draw(false);
    }

    find() {
      this.finder.disabled = true;
      this.message.textContent = "searching …";
      setTimeout(() => {
        const goals = this.content.goals;
        const asked = this.wishes.filter((w) => w.goal || w.lower !== null || w.upper !== null);
        if (!asked.length && !goals.length) this.message.textContent = "Nothing is wanted: type a number beside an output.";
        else {
          const found = own.find(this.model, this.space, this.x, asked, goals, (this.searches = (this.searches || 0) + 1));
          this.x = found.x;
          const { mean } = this.model.predict(this.x, 1);
          const missed = asked.filter((w) => this.misses(w, mean[w.output])).map((w) => this.outputs[w.output].name);
          this.message.textContent = missed.length
            ? `The nearest design found misses ${missed.join(", ")}; start from another design, or search again.`
            : "Found by a small search in this page, from where the sliders stood. The designs above were searched for more thoroughly.";
        }
        this.finder.disabled = false;
        this.draw(false);
      }, 20);
    }

    misses(wish, value) {
      const slack = Math.max(wish.tolerance || 0, 1e-6 * (wish.range || 0));
      return (wish.lower !== null && value < wish.lower - slack) || (wish.upper !== null && value > wish.upper + slack);
    }

    /** The prediction where the sliders stand. */
    now() {
      if (this.model) return this.model.predict(this.x, 1);
      const m = this.outputs.length;
      const curves = this.content.slices.curves[this.chosen];
      const moved = this.space.variables.findIndex((v) => {
        for (let c = v.start; c < v.stop; c++) if (this.x[c] !== this.points[this.chosen][c]) return true;
        return false;
      });
      const j = moved < 0 ? this.space.variables.findIndex((v) => !v.fixed) : moved;
      const mean = Float64Array.from({ length: m }, (_, k) => interpolated(curves[Math.max(j, 0)], this.space, this.space.variables[Math.max(j, 0)], this.x, k));
      return { mean, spread: new Float64Array(m) };
    }

    curves(count, dragging = false) {
      const { space, shownInputs } = this;
      if (!this.model) {
        return shownInputs.map((j) => {
          const v = space.variables[j];
          const curve = this.content.slices.curves[this.chosen][j];
          return { j, places: curve.x.map((x) => placeOf(space, v, x)), mean: Float64Array.from(curve.y.flat()), spread: null };
        });
      }
      const e = space.width;
      const m = this.outputs.length;
      const sets = shownInputs.map((j) => ({ j, places: space.places(space.variables[j], count) }));
      const total = sets.reduce((sum, set) => sum + set.places.length, 0);
      const batch = new Float64Array(total * e);
      let at = 0;
      for (const set of sets) {
        const v = space.variables[set.j];
        set.real = set.places.map((place) => {
          const x = space.constrained ? space.move(this.x, set.j, place).x : space.put(this.x, v, place);
          batch.set(x, at++ * e);
          return space.value(x, v);
        });
      }
      const began = performance.now();
      const { mean, spread } = this.model.predict(batch, total);
      this.perPoint = 0.5 * this.perPoint + (0.5 * (performance.now() - began)) / Math.max(total, 1);
      const other = this.second && !dragging ? this.second.predict(batch, total).mean : null; // once the sliders rest
      at = 0;
      for (const set of sets) {
        if (other) set.second = other.subarray(at * m, (at + set.places.length) * m);
        set.mean = mean.subarray(at * m, (at + set.places.length) * m);
        set.spread = spread.subarray(at * m, (at + set.places.length) * m);
        at += set.places.length;
        set.places = set.real;
      }
      return sets;
    }

    draw(dragging) {
      if (!this.cells) return;
      const began = performance.now();
      const cost = this.perPoint * this.shownInputs.length * FINE;
      const answer = this.now();
      const sets = this.curves(dragging && cost > BUDGET ? COARSE : FINE, dragging);
      for (const m of this.shownOutputs) this.fit(m, sets, answer);
      for (const item of this.cells) this.drawCell(item, sets.find((set) => set.j === item.j), answer);
      this.refresh(answer);
      this.milliseconds = performance.now() - began;
      clearTimeout(this.later);
      this.later = setTimeout(() => this.listeners.forEach((tell) => tell(this.x, answer)), dragging ? 250 : 30);
    }

    /** The ends of an output's axis, which only widen while a design is looked at. */
    fit(m, sets, answer) {
      const output = this.outputs[m];
      const wish = this.wishes[m];
      const values = [answer.mean[m], wish.lower, wish.upper];
      if (output.measured) values.push(output.low, output.high);
      const count = this.outputs.length;
      for (const set of sets) for (let i = m; i < set.mean.length; i += count) values.push(set.mean[i]);
      const [low, high] = own.extent(values);
      const before = this.ends.get(m);
      this.ends.set(m, before ? [Math.min(before[0], low), Math.max(before[1], high)] : [low, high]);
    }

    band(m, spread, here) {
      const half = this.half[m];
      if (half === null && !(spread > 0)) return 0;
      const more = Math.max(spread ** 2 - here ** 2, 0);
      return half === null ? USUAL * spread : Math.sqrt(half ** 2 + USUAL ** 2 * more);
    }

    drawCell(item, set, answer) {
      const { m, j, width, height } = item;
      const { space } = this;
      const v = space.variables[j];
      const [low, high] = this.ends.get(m);
      const Y = own.scale(low, high, height - 16, 5);
      const wish = this.wishes[m];
      const count = this.outputs.length;
      const choices = space.choices(v);
      const g = svg("g");
      const slot = (width - 12) / (choices ? choices.length : 1);
      const X = choices ? (value) => 6 + (choices.indexOf(value) + 0.5) * slot : this.across(v, width);
      if (!choices && v.data) {
        const left = Math.max(X(Math.max(v.data[0], v.lower)), 6);
        const right = Math.min(X(Math.min(v.data[1], v.upper)), width - 6);
        if (right > left) g.append(svg("rect", { x: left, y: 5, width: right - left, height: height - 21, class: "data-range" }));
      }
      if (wish.lower !== null || wish.upper !== null) {
        const top = wish.upper === null ? 5 : Math.max(Y(wish.upper + wish.tolerance), 5);
        const bottom = wish.lower === null ? height - 16 : Math.min(Y(wish.lower - wish.tolerance), height - 16);
        g.append(svg("rect", { x: 6, y: Math.min(top, bottom - 1.5), width: width - 12, height: Math.max(bottom - top, 1.5), class: "target-band" }));
      }
      const ys = set.places.map((_, i) => set.mean[i * count + m]);
      const halves = set.places.map((_, i) => this.band(m, set.spread ? set.spread[i * count + m] : 0, answer.spread[m]));
      const xs = set.places.map(X);
      const clip = (y) => Math.min(Math.max(Y(y), 5), height - 16);
      if (choices) {
        xs.forEach((x, i) => {
          if (halves[i] > 0) g.append(svg("path", { d: `M${x} ${clip(ys[i] - halves[i])}V${clip(ys[i] + halves[i])}`, class: "whisker" }));
          g.append(svg("circle", { cx: x, cy: clip(ys[i]), r: 3, class: "level" }));
        });
      } else {
        if (halves.some((h) => h > 0)) {
          const up = own.path(xs, ys.map((y, i) => clip(y + halves[i])));
          const down = own.path([...xs].reverse(), ys.map((y, i) => clip(y - halves[i])).reverse());
          g.append(svg("path", { d: `${up}L${down.slice(1)}Z`, class: "band" }));
        }
        g.append(svg("path", { d: own.path(xs, ys.map(clip)), class: "curve" }));
      }
      if (set.second) {
        const said = set.places.map((_, i) => clip(set.second[i * count + m]));
        if (choices) xs.forEach((x, i) => g.append(svg("path", { d: `M${x - 5} ${said[i]}H${x + 5}`, class: "second" })));
        else g.append(svg("path", { d: own.path(xs, said), class: "second" }));
      }
      const here = X(space.value(this.x, v));
      g.append(svg("path", { d: `M${here} 5V${height - 16}`, class: "cross" }), svg("path", { d: `M6 ${clip(answer.mean[m])}H${width - 6}`, class: "cross" }));
      g.append(svg("circle", { cx: here, cy: clip(answer.mean[m]), r: 4.5, class: "here" }));
      const ends = choices ? [space.text(v, choices[0]), choices.length > 1 ? space.text(v, choices[choices.length - 1]) : ""] : [own.text(v.lower, space.range(v) / 500), own.text(v.upper, space.range(v) / 500)];
      g.append(svg("text", { x: 6, y: height - 3, class: "end" }, own.shortened(ends[0], Math.floor(width / 14))));
      g.append(svg("text", { x: width - 6, y: height - 3, "text-anchor": "end", class: "end" }, own.shortened(ends[1], Math.floor(width / 14))));
      if (j === this.shownInputs[0]) {
        g.append(svg("text", { x: 8, y: 14, class: "end" }, own.text(high, (high - low) / 100)));
        g.append(svg("text", { x: 8, y: height - 19, class: "end" }, own.text(low, (high - low) / 100)));
      }
      item.root.replaceChildren(g);
      item.root.setAttribute("aria-label", `${this.outputs[m].label} over ${v.label}: from ${own.text(Math.min(...ys), (high - low) / 500)} to ${own.text(Math.max(...ys), (high - low) / 500)}`);
    }

    refresh(answer = this.now()) {
      const { space } = this;
      for (const [j, control] of this.controls) {
        const v = space.variables[j];
        const value = space.value(this.x, v);
        if (control.select) control.select.value = String(value);
        else {
          if (document.activeElement !== control.number) control.number.value = space.text(v, value);
          control.slider.value = String(control.log ? Math.log10(value) : value);
        }
      }
      for (const [m, label] of this.labels) {
        const wish = this.wishes[m];
        const value = answer.mean[m];
        label.value.textContent = own.text(value, (this.outputs[m].range || Math.abs(value)) * 1e-4);
        label.value.dataset.exact = String(value);
        const limited = wish.lower !== null || wish.upper !== null;
        label.met.textContent = !limited ? "" : this.misses(wish, value) ? "✗ misses" : "✓ meets";
        label.met.className = `met ${!limited ? "" : this.misses(wish, value) ? "no" : "yes"}`;
      }
    }
  }

  function placeOf(space, v, x) {
    if (v.kind === "categorical") return x.indexOf(Math.max(...x));
    if (v.kind === "levels" || v.kind === "binary") {
      const y = new Float64Array(space.width);
      y[v.start] = x[0];
      return space.value(y, v);
    }
    return x[0];
  }

  /** A curve that was computed beforehand, between its points. */
  function interpolated(curve, space, v, x, k) {
    const here = space.value(x, v);
    const places = curve.x.map((p) => placeOf(space, v, p));
    if (space.choices(v) !== null) return curve.y[Math.max(places.indexOf(here), 0)][k];
    let i = places.findIndex((p) => p >= here);
    if (i < 0) i = places.length - 1;
    if (i === 0) return curve.y[0][k];
    const t = (here - places[i - 1]) / (places[i] - places[i - 1] || 1);
    return curve.y[i - 1][k] + t * (curve.y[i][k] - curve.y[i - 1][k]);
  }

  own.Profiler = Profiler;
})(Invdesign);
