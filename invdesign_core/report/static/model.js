"use strict";
/* What the surrogate answers, computed from its weights. It needs no page: tests run it in Node too. */
var Invdesign = globalThis.Invdesign || (globalThis.Invdesign = {});

(function (own) {
  /** The numbers in base64: single or double precision, little-endian. */
  function numbers(packed) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return packed.type === "f8" ? new Float64Array(bytes.buffer) : Float64Array.from(new Float32Array(bytes.buffer));
  }

  /* The error function by cubic Hermite interpolation in a table, exact to about 1e-11. */
  const ERF_STEP = 1 / 256;
  const ERF_END = 6;
  let erfTable = null;
  function erfSeries(x) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  function erf(x) {
    if (erfTable === null) {
      erfTable = new Float64Array(ERF_END / ERF_STEP + 2);
      for (let i = 1; i < erfTable.length; i++) erfTable[i] = Math.min(erfSeries(i * ERF_STEP), 1);
    }
    const size = Math.abs(x);
    if (size >= ERF_END) return Math.sign(x);
    const i = Math.floor(size / ERF_STEP);
    const t = size / ERF_STEP - i;
    const slope = (at) => (2 / Math.sqrt(Math.PI)) * Math.exp(-at * at) * ERF_STEP;
    const a = erfTable[i];
    const b = erfTable[i + 1];
    const da = slope(i * ERF_STEP);
    const db = slope((i + 1) * ERF_STEP);
    const value = a + t * (da + t * (3 * (b - a) - 2 * da - db + t * (2 * (a - b) + da + db)));
    return x < 0 ? -value : value;
  }
  own.erf = erf;

  const sigmoid = (v) => 1 / (1 + Math.exp(-v));
  const softplus = (v) => Math.log1p(Math.exp(-Math.abs(v))) + Math.max(v, 0);
  const ACTIVATIONS = {
    relu: (v) => (v > 0 ? v : 0),
    relu6: (v) => Math.min(Math.max(v, 0), 6),
    leaky_relu: (v, slope = 0.2) => (v > 0 ? v : slope * v),
    elu: (v, alpha = 1) => (v > 0 ? v : alpha * Math.expm1(v)),
    celu: (v) => (v > 0 ? v : Math.expm1(v)),
    selu: (v) => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v)),
    softplus,
    softsign: (v) => v / (1 + Math.abs(v)),
    silu: (v) => v * sigmoid(v),
    gelu: (v) => 0.5 * v * (1 + erf(v / Math.SQRT2)),
    mish: (v) => v * Math.tanh(softplus(v)),
    tanh: Math.tanh,
    sigmoid,
    hard_sigmoid: (v) => Math.min(Math.max(v + 3, 0), 6) / 6,
    exponential: Math.exp,
  };

  /* Each takes a step whose weights are decoded, its sources, each (n, width) by rows, and n. */
  const OPERATIONS = {
    dense(step, [x], n) {
      const [e, m] = step.shape;
      const { kernel, bias } = step;
      const out = new Float64Array(n * m);
      const whole = m - (m % 4);
      for (let row = 0; row < n; row++) {
        const from = row * e;
        const to = row * m;
        let j = 0;
        for (; j < whole; j += 4) {
          const k0 = j * e;
          const k1 = k0 + e;
          const k2 = k1 + e;
          const k3 = k2 + e;
          let a = bias[j];
          let b = bias[j + 1];
          let c = bias[j + 2];
          let d = bias[j + 3];
          for (let i = 0; i < e; i++) {
            const value = x[from + i];
            a += value * kernel[k0 + i];
            b += value * kernel[k1 + i];
            c += value * kernel[k2 + i];
            d += value * kernel[k3 + i];
          }
          out[to + j] = a;
          out[to + j + 1] = b;
          out[to + j + 2] = c;
          out[to + j + 3] = d;
        }
        for (; j < m; j++) {
          let sum = bias[j];
          for (let i = 0; i < e; i++) sum += x[from + i] * kernel[j * e + i];
          out[to + j] = sum;
        }
      }
      return out;
    },
    activation(step, [x]) {
      const apply = ACTIVATIONS[step.name];
      const out = new Float64Array(x.length);
      if (step.slope === undefined) for (let i = 0; i < x.length; i++) out[i] = apply(x[i]);
      else for (let i = 0; i < x.length; i++) out[i] = apply(x[i], step.slope);
      return out;
    },
    /* Rounded as Keras rounds in single precision: a large offset takes digits there, too. */
    affine(step, [x]) {
      const { scale, offset } = step;
      const width = scale.length;
      const out = new Float64Array(x.length);
      for (let i = 0; i < x.length; i++) {
        const j = i % width;
        out[i] = Math.fround(Math.fround(Math.fround(x[i]) * scale[j]) + offset[j]);
      }
      return out;
    },
    add: (step, xs) => combined(xs, (a, b) => a + b),
    subtract: (step, xs) => combined(xs, (a, b) => a - b),
    multiply: (step, xs) => combined(xs, (a, b) => a * b),
    average: (step, xs) => combined(xs, (a, b) => a + b).map((v) => v / xs.length),
    concatenate(step, xs, n) {
      const { widths } = step;
      const total = widths.reduce((a, b) => a + b, 0);
      const out = new Float64Array(n * total);
      let at = 0;
      xs.forEach((x, k) => {
        for (let row = 0; row < n; row++) {
          for (let j = 0; j < widths[k]; j++) out[row * total + at + j] = x[row * widths[k] + j];
        }
        at += widths[k];
      });
      return out;
    },
    /* The mean of m Gaussian processes with a Matérn 5/2 kernel. */
    matern52(step, [x], n) {
      const { points, lengths, coefficients, columns: e, responses: m } = step;
      const known = points.length / e;
      const out = new Float64Array(n * m);
      if (!step.scaled) {
        step.scaled = [];
        for (let j = 0; j < m; j++) {
          const own = new Float64Array(points.length);
          for (let i = 0; i < points.length; i++) own[i] = points[i] / lengths[j * e + (i % e)];
          step.scaled.push(own);
        }
      }
      const here = new Float64Array(e);
      for (let j = 0; j < m; j++) {
        const own = step.scaled[j];
        for (let row = 0; row < n; row++) {
          for (let c = 0; c < e; c++) here[c] = Math.fround(x[row * e + c]) / lengths[j * e + c];
          let sum = 0;
          for (let k = 0, at = 0; k < known; k++) {
            let square = 0;
            for (let c = 0; c < e; c++, at++) {
              const gap = here[c] - own[at];
              square += gap * gap;
            }
            const weight = coefficients[j * known + k];
            if (weight !== 0) {
              const r = Math.sqrt(5 * square);
              sum += weight * (1 + r + (r * r) / 3) * Math.exp(-r);
            }
          }
          out[row * m + j] = sum;
        }
      }
      return out;
    },
    /* Columns, then the products of pairs of them, times coefficients. */
    polynomial(step, [x], n) {
      const { left, right, kernel, bias, columns: e, responses: m } = step;
      const out = new Float64Array(n * m);
      for (let row = 0; row < n; row++) {
        for (let j = 0; j < m; j++) {
          let sum = bias[j];
          for (let c = 0; c < e; c++) sum += x[row * e + c] * kernel[c * m + j];
          for (let p = 0; p < left.length; p++) {
            sum += x[row * e + left[p]] * x[row * e + right[p]] * kernel[(e + p) * m + j];
          }
          out[row * m + j] = sum;
        }
      }
      return out;
    },
  };

  function combined(xs, both) {
    const out = Float64Array.from(xs[0]);
    for (const x of xs.slice(1)) for (let i = 0; i < out.length; i++) out[i] = both(out[i], x[i]);
    return out;
  }

  /** A surrogate that can be asked: predict(x, n) of (n, e) encoded designs by rows. */
  class Model {
    constructor(formula, outputs, scenarios) {
      this.outputs = outputs;
      this.weights = formula.weights;
      this.scenarios = scenarios || null;
      this.members = formula.members.map((member) => ({
        out: member.out,
        steps: member.steps.map((step) => {
          const decoded = { ...step };
          for (const [key, value] of Object.entries(step)) {
            if (value && value.data !== undefined) decoded[key] = numbers(value);
          }
          return decoded;
        }),
      }));
    }

    /** The answers of one member, (n, m) by rows. */
    member(k, x, n) {
      const values = [x];
      for (const step of this.members[k].steps) {
        values.push(OPERATIONS[step.op](step, step.from.map((at) => values[at]), n));
      }
      return values[this.members[k].out];
    }

    /** The mean over the members, and their deviation from it; means over scenarios, where there are any. */
    predict(x, n) {
      if (this.scenarios === null) return this._predict(x, n);
      const { columns, values } = this.scenarios;
      const s = values.length;
      const e = x.length / n;
      const m = this.outputs;
      const many = new Float64Array(x.length * s);
      for (let row = 0; row < n; row++) {
        for (let k = 0; k < s; k++) {
          const at = (row * s + k) * e;
          for (let c = 0; c < e; c++) many[at + c] = x[row * e + c];
          columns.forEach((column, i) => (many[at + column] = values[k][i]));
        }
      }
      const each = this._predict(many, n * s);
      const over = (part) => {
        const out = new Float64Array(n * m);
        for (let i = 0; i < part.length; i++) {
          out[Math.floor(i / (s * m)) * m + (i % m)] += part[i] / s;
        }
        return out;
      };
      return { mean: over(each.mean), spread: over(each.spread) };
    }

    _predict(x, n) {
      const m = this.outputs;
      const mean = new Float64Array(n * m);
      const square = new Float64Array(n * m);
      const equal = 1 / this.members.length;
      const answers = this.members.map((_, k) => this.member(k, x, n));
      answers.forEach((answer, k) => {
        for (let i = 0; i < answer.length; i++) mean[i] += (this.weights ? this.weights[k][i % m] : equal) * answer[i];
      });
      if (answers.length > 1) {
        answers.forEach((answer, k) => {
          for (let i = 0; i < answer.length; i++) {
            square[i] += (this.weights ? this.weights[k][i % m] : equal) * (answer[i] - mean[i]) ** 2;
          }
        });
      }
      return { mean, spread: square.map(Math.sqrt) };
    }
  }
  own.Model = Model;
})(Invdesign);
