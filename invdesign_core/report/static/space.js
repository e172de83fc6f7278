"use strict";
/* The design variables: which values exist, and how the others give way where a constraint ties them. No page needed. */
var Invdesign = globalThis.Invdesign || (globalThis.Invdesign = {});

(function (own) {
  const EPS = 1e-9;

  /** A number to the decimal place of a unit, without zeros at the end. */
  function text(value, unit) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    const step = unit > 0 ? unit : size * 1e-4;
    const places = Math.ceil(-Math.log10(step));
    if (size >= 1e9 || size < 1e-5) {
      return value.toPrecision(Math.min(Math.max(Math.ceil(Math.log10(size)) + places, 2), 7)).replace(/\.?0+(e|$)/, "$1");
    }
    const shown = value.toFixed(Math.min(Math.max(places, 0), 12));
    return shown.includes(".") ? shown.replace(/\.?0+$/, "") : shown;
  }
  own.text = text;

  /** Random numbers from 0 to 1 that are the same each time. */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  class Space {
    constructor(variables, constraints) {
      this.variables = variables;
      this.width = variables.length ? variables[variables.length - 1].stop : 0;
      this.atMost = constraints.at_most;
      this.rows = constraints.rows.map((row) => ({
        row: row.row,
        lower: row.lower === null ? -Infinity : row.lower,
        upper: row.upper === null ? Infinity : row.upper,
      }));
      this.owner = [];
      variables.forEach((v, j) => {
        for (let c = v.start; c < v.stop; c++) this.owner[c] = j;
        if (v.lower === null || v.upper === null) {
          [v.lower, v.upper] = v.data || [0, 1];
          v.open = true;
        }
      });
      this.constrained = this.rows.length > 0 || this.atMost.length > 0;
    }

    range(v) {
      return v.upper - v.lower || Math.abs(v.upper) || 1;
    }

    /** Whether only some values of a variable exist. */
    discrete(v) {
      return v.kind !== "continuous" || v.step !== null;
    }

    /** The numbers of the levels of a variable that may be chosen, or null for a number. */
    choices(v) {
      if (v.kind === "categorical") return v.allowed;
      if (v.kind === "binary" || v.kind === "levels") return v.levels.map((_, i) => i);
      return null;
    }

    /** The value of a variable: the number of its level, or a number. */
    value(x, v) {
      if (v.kind === "categorical") {
        let best = v.start;
        for (let c = v.start; c < v.stop; c++) if (x[c] > x[best]) best = c;
        return best - v.start;
      }
      if (v.kind === "binary") return Math.round(x[v.start]);
      if (v.kind === "levels") {
        let best = 0;
        v.levels.forEach((level, i) => {
          if (Math.abs(level - x[v.start]) < Math.abs(v.levels[best] - x[v.start])) best = i;
        });
        return best;
      }
      return x[v.start];
    }

    /** A value as it is written. */
    text(v, value) {
      if (v.said !== null && v.said !== undefined) return v.said;
      if (v.kind === "levels") return text(v.levels[value], this.range(v) * 1e-5);
      if (this.choices(v) !== null) return String(v.levels[value]);
      return text(value, this.discrete(v) ? Math.min(this.range(v) * 1e-6, v.step * 1e-3) : this.range(v) * 1e-4);
    }

    /** Put a value into a copy of a design, moved to the nearest that exists; the others stay. */
    put(x, v, value) {
      const y = Float64Array.from(x);
      if (v.kind === "categorical") {
        for (let c = v.start; c < v.stop; c++) y[c] = c - v.start === value ? 1 : 0;
        return y;
      }
      if (v.kind === "levels") y[v.start] = v.levels[value];
      else if (v.kind === "binary") y[v.start] = value;
      else y[v.start] = this.nearest(v, value);
      return y;
    }

    /** The nearest number that exists. */
    nearest(v, value) {
      let at = Math.min(Math.max(value, v.lower), v.upper);
      if (v.step !== null) {
        let count = Math.round((at - v.origin) / v.step);
        const low = Math.ceil((v.lower - v.origin) / v.step - 1e-9);
        const high = Math.floor((v.upper - v.origin) / v.step + 1e-9);
        count = Math.min(Math.max(count, low), high);
        return Number((v.origin + count * v.step).toPrecision(14));
      }
      if (v.ranges.length) {
        let best = Infinity;
        let found = at;
        for (const [low, high] of v.ranges) {
          const inside = Math.min(Math.max(at, low), high);
          if (Math.abs(inside - at) < best) [best, found] = [Math.abs(inside - at), inside];
        }
        at = found;
      }
      return at;
    }

    /** Set one variable; where constraints tie it, the others give way in proportion. `limited` says it stopped short. */
    move(x, j, value) {
      const v = this.variables[j];
      const y = this.put(x, v, value);
      if (!this.constrained) return { x: y, limited: false };
      const there = this.repaired(y, j);
      if (this.holds(there)) return { x: there, limited: false };
      if (this.discrete(v)) return { x: Float64Array.from(x), limited: true };
      let low = 0;
      let high = 1;
      let best = Float64Array.from(x);
      const from = x[v.start];
      for (let i = 0; i < 30; i++) {
        const middle = (low + high) / 2;
        const tried = this.repaired(this.put(x, v, from + middle * (y[v.start] - from)), j);
        if (this.holds(tried)) [low, best] = [middle, tried];
        else high = middle;
      }
      return { x: best, limited: true };
    }

    /** What is left to a row, and what it is measured by. */
    gap(row, x) {
      let sum = 0;
      let size = 0;
      for (let c = 0; c < this.width; c++) {
        sum += row.row[c] * x[c];
        const v = this.variables[this.owner[c]];
        size = Math.max(size, Math.abs(row.row[c]) * Math.max(Math.abs(v.lower), Math.abs(v.upper)));
      }
      if (sum > row.upper) return [row.upper - sum, size];
      if (sum < row.lower) return [row.lower - sum, size];
      return [0, size];
    }

    holds(x) {
      for (const row of this.rows) {
        const [gap, size] = this.gap(row, x);
        if (Math.abs(gap) > 1e-7 * size) return false;
      }
      for (const limit of this.atMost) {
        if (limit.columns.filter((c) => x[c] > EPS).length > limit.count) return false;
      }
      return true;
    }

    /** Let all columns but those of variable j give way until the constraints hold, as far as they can. */
    repaired(x, j) {
      const y = Float64Array.from(x);
      for (let round = 0; round < 60; round++) {
        let moved = 0;
        for (const limit of this.atMost) {
          const above = limit.columns.filter((c) => y[c] > EPS);
          const others = above.filter((c) => this.owner[c] !== j && this.variables[this.owner[c]].lower <= 0);
          others.sort((a, b) => y[a] - y[b]);
          for (const c of others.slice(0, Math.max(above.length - limit.count, 0))) {
            y[c] = 0;
            moved = 1;
          }
        }
        for (const row of this.rows) {
          const [gap, size] = this.gap(row, y);
          if (Math.abs(gap) > 1e-13 * size) {
            this.giveWay(y, row, gap, j);
            moved = Math.max(moved, Math.abs(gap) / size);
          }
        }
        if (moved < 1e-12) break;
      }
      return y;
    }

    giveWay(y, row, gap, j) {
      const full = new Set();
      for (const limit of this.atMost) {
        if (limit.columns.filter((c) => y[c] > EPS).length >= limit.count) {
          limit.columns.filter((c) => y[c] <= EPS).forEach((c) => full.add(c));
        }
      }
      const may = [];
      for (let c = 0; c < this.width; c++) {
        const v = this.variables[this.owner[c]];
        if (row.row[c] !== 0 && this.owner[c] !== j && !v.fixed && this.choices(v) === null && !full.has(c)) may.push(c);
      }
      const smooth = may.filter((c) => !this.discrete(this.variables[this.owner[c]]));
      const columns = smooth.length ? smooth : may;
      for (let round = 0; round < 30 && Math.abs(gap) > 0; round++) {
        const room = columns.map((c) => {
          const v = this.variables[this.owner[c]];
          return Math.sign(gap * row.row[c]) > 0 ? v.upper - y[c] : y[c] - v.lower;
        });
        let share = columns.map((c, i) => (room[i] > 0 ? Math.abs(row.row[c]) * (y[c] - this.variables[this.owner[c]].lower) : 0));
        if (!share.some((s) => s > 0)) share = columns.map((c, i) => Math.abs(row.row[c]) * Math.max(room[i], 0));
        const total = share.reduce((a, b) => a + b, 0);
        if (!(total > 0)) return;
        let left = gap;
        columns.forEach((c, i) => {
          if (share[i] <= 0) return;
          const v = this.variables[this.owner[c]];
          const wanted = y[c] + (gap * (share[i] / total)) / row.row[c];
          const next = this.discrete(v) ? this.nearest(v, wanted) : Math.min(Math.max(wanted, v.lower), v.upper);
          left -= (next - y[c]) * row.row[c];
          y[c] = next;
        });
        if (left === gap) return;
        gap = left;
      }
    }

    /** A curve's places for a variable: its levels, or numbers over its bounds. */
    places(v, count) {
      const choices = this.choices(v);
      if (choices !== null) return choices;
      if (this.discrete(v)) {
        const steps = Math.round((v.upper - v.lower) / v.step);
        if (steps <= count) return Array.from({ length: steps + 1 }, (_, i) => this.nearest(v, v.lower + i * v.step));
      }
      const log = v.log && v.lower > 0;
      return Array.from({ length: count }, (_, i) => {
        const t = i / (count - 1);
        return log ? v.lower * (v.upper / v.lower) ** t : v.lower + t * (v.upper - v.lower);
      });
    }
  }
  own.Space = Space;

  /** How far outputs are from what is wanted: 0 where all is met and nothing is to be as large or small as it can be. */
  function loss(mean, at, wishes) {
    let total = 0;
    for (const wish of wishes) {
      const value = mean[at + wish.output];
      const range = wish.range || 1;
      if (wish.lower !== null && value < wish.lower) total += (wish.goal ? 1e3 : 1) * ((wish.lower - value) / range) ** 2;
      if (wish.upper !== null && value > wish.upper) total += (wish.goal ? 1e3 : 1) * ((value - wish.upper) / range) ** 2;
      if (wish.goal === "max") total -= value / range;
      if (wish.goal === "min") total += value / range;
    }
    return total;
  }
  own.loss = loss;

  /** A small search from where a design stands, for what is wanted; the best design found. */
  function find(model, space, start, wishes, goals = [], seed = 1, rounds = 90) {
    const draw = random(seed);
    const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
    const free = space.variables.map((v, j) => j).filter((j) => !space.variables[j].fixed);
    const e = space.width;
    const m = model.outputs;
    const many = 24;
    const score = (mean, k, x) => {
      let total = loss(mean, k * m, wishes);
      for (const goal of goals) total -= (goal.sign * x[goal.column]) / (goal.range || 1);
      return total;
    };
    let best = Float64Array.from(start);
    let value = score(model.predict(best, 1).mean, 0, best);
    const optimum = goals.length || wishes.some((w) => w.goal) ? -Infinity : 1e-14;
    let size = 0.2;
    for (let round = 0; round < rounds && value > optimum && size > 1e-6 && free.length; round++) {
      const batch = new Float64Array(many * e);
      const tried = [];
      for (let k = 0; k < many; k++) {
        let x = best;
        const some = 1 + Math.floor(draw() * Math.min(free.length, 4));
        for (let i = 0; i < some; i++) {
          const j = free[Math.floor(draw() * free.length)];
          const v = space.variables[j];
          const choices = space.choices(v);
          if (choices !== null) {
            if (draw() < 0.3) x = space.move(x, j, choices[Math.floor(draw() * choices.length)]).x;
            continue;
          }
          let step = normal() * size * space.range(v);
          if (v.step !== null) step = Math.sign(step) * Math.max(Math.abs(step), v.step);
          x = space.move(x, j, x[v.start] + step).x;
        }
        tried.push(x);
        batch.set(x, k * e);
      }
      const { mean } = model.predict(batch, many);
      let winner = -1;
      tried.forEach((x, k) => {
        const found = score(mean, k, x);
        if (found < value) [value, winner] = [found, k];
      });
      if (winner >= 0) {
        best = tried[winner];
        size = Math.min(size * 1.4, 0.4);
      } else size *= 0.7;
    }
    return { x: best, loss: value };
  }
  own.find = find;
})(Invdesign);
