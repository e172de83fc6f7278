"use strict";
/* How good the model is, and what happened. */
(function (own) {
  const { html, svg } = own;

  function scatter({ xs, ys, x, y, title, description, diagonal, level, words, size = 300 }) {
    const plot = own.figure({ width: size, height: Math.round(size * 0.8), x, y, title, description });
    const layer = svg("g");
    const { area, X, Y } = plot;
    if (diagonal) layer.append(svg("path", { d: `M${X(x.low)} ${Y(x.low)}L${X(x.high)} ${Y(x.high)}`, class: "guide" }));
    if (level !== undefined) layer.append(svg("path", { d: `M${area.left} ${Y(level)}H${area.right}`, class: "guide" }));
    xs.forEach((value, i) => {
      if (value === null || ys[i] === null) return;
      const mark = svg("circle", { cx: X(value).toFixed(1), cy: Y(ys[i]).toFixed(1), r: 2.6, class: "point" });
      if (words) mark.append(svg("title", {}, words(i)));
      layer.append(mark);
    });
    plot.root.append(layer);
    return plot.root;
  }

  function fit(content, root) {
    const { fit: known, outputs } = content;
    if (!known) {
      root.append(html("p", {}, "No measured rows came with this model, so nothing tells how good it is."));
      return;
    }
    root.append(html("p", {}, `Predicted beside measured for ${known.total} ${known.said}.`));
    const box = html("div", { class: "figures" });
    const show = (some) => {
      box.replaceChildren();
      for (const m of some) {
        const measured = known.measured[m];
        const predicted = known.predicted[m];
        const name = outputs[m].label;
        const [low, high] = own.extent([...measured, ...predicted]);
        const row = (i) => `${known.rows ? `row ${known.rows[i]}: ` : ""}measured ${measured[i]}, predicted ${predicted[i]}`;
        const r2 = outputs[m].r2;
        const pair = html("div", { class: "figures" });
        box.append(pair);
        pair.append(scatter({ xs: measured, ys: predicted, x: { low, high, name: "measured" }, y: { low, high, name: "predicted" }, title: r2 ? `R² ${r2}: ${name}` : name, description: `${name}: predicted over measured${r2 ? `, R² ${r2}` : ""}`, diagonal: true, words: row }));
        const residuals = measured.map((v, i) => (v === null || predicted[i] === null ? null : predicted[i] - v));
        const [least, most] = own.extent([...residuals, 0]);
        pair.append(scatter({ xs: predicted, ys: residuals, x: { low, high, name: "predicted" }, y: { low: least, high: most, name: "predicted − measured" }, title: `residuals: ${name}`, description: `${name}: residuals over predictions`, level: 0, words: row }));
      }
    };
    const pager = own.pager(outputs.map((_, m) => m), 4, (m) => outputs[m].label, show, "outputs");
    root.append(pager.root, box);
    pager.start();
  }

  function influence(content, space, root) {
    const found = content.influence;
    if (!found) {
      root.append(html("p", {}, "Which inputs matter is told where all inputs have bounds and no condition varies."));
      return;
    }
    root.append(html("p", { class: "legend" }, `Sobol indices of the surrogate from ${found.points} predictions over the bounds: the share of an output's variance that an input causes alone (dark) and with all that it does together with others (light). The arrow says whether the output rises or falls with it.${found.tied ? " Constraints are not looked at here." : ""}`));
    const box = html("div", {});
    const draw = (m) => {
      const order = space.variables.map((v, j) => j).filter((j) => !space.variables[j].fixed);
      order.sort((a, b) => (found.total[m][b] || 0) - (found.total[m][a] || 0));
      const show = (some) => {
        list.replaceChildren();
        for (const j of some) {
          const first = found.first[m][j];
          const total = found.total[m][j];
          const way = found.direction[m][j];
          const line = html("div", { class: "bar-line" });
          for (const [value, kind] of [[total, "total"], [first, "first"]]) {
            const part = html("span", { class: `bar-part ${kind}` });
            part.style.left = "0%";
            part.style.width = `${100 * Math.min(value || 0, 1)}%`;
            line.append(part);
          }
          const arrow = way === null || Math.abs(way) < 0.1 ? "·" : way > 0 ? "↗" : "↘";
          const words = total === null ? "the output is constant" : `${arrow} ${first.toFixed(2)} alone, ${total.toFixed(2)} in all`;
          list.append(html("span", { class: "bar-name" }, space.variables[j].name), line, html("span", { class: "bar-words" }, words));
        }
      };
      const list = html("div", { class: "bars" });
      const pager = own.pager(order, 15, (j) => space.variables[j].name, show, "inputs");
      box.replaceChildren(pager.root, list);
      pager.start();
    };
    const first = Math.max(content.outputs.findIndex((o) => o.target), 0);
    if (content.outputs.length > 1) root.append(own.choice("output", content.outputs.map((o, m) => [String(m), o.label]), String(first), (v) => draw(Number(v))).root);
    root.append(box);
    draw(first);
  }

  function race(content, root) {
    const known = content.race;
    if (!known) {
      root.append(html("p", {}, "The surrogate was named, so none was compared with it."));
      return;
    }
    for (const line of known.text) root.append(html("p", {}, line));
    const running = known.candidates.filter((c) => c.error !== null);
    const largest = Math.max(...running.map((c) => c.error), 1e-12);
    const list = html("div", { class: "bars" });
    for (const one of running) {
      const part = html("span", { class: `bar-part ${one.role === "chosen" ? "first" : "total"}` });
      part.style.left = "0%";
      part.style.width = `${(100 * one.error) / largest}%`;
      list.append(html("span", { class: "bar-name" }, one.name), html("div", { class: "bar-line" }, part), html("span", { class: "bar-words" }, `${one.error.toFixed(3)}${one.role === "beaten" ? "" : ` · ${one.role}`}`));
    }
    root.append(html("p", { class: "legend" }, `Root mean squared error on rows left out, in standard deviations of the output (${known.folds} folds, ${known.rows} rows); shorter is better.`), list);
    for (const out of known.candidates.filter((c) => c.error === null)) root.append(html("p", { class: "legend" }, `${out.name} is out: ${out.message || ""}`));
    if (known.curve && known.curve.error.every((e) => e !== null)) {
      const { rows, error } = known.curve;
      const [, high] = own.extent(error);
      const plot = own.figure({ width: 360, height: 240, x: { low: 0, high: Math.max(...rows) * 1.05, name: "training rows" }, y: { low: 0, high, name: "error / standard deviation" }, title: "learning curve", description: `error with ${rows.join(", ")} rows: ${error.map((e) => e.toFixed(3)).join(", ")}` });
      plot.root.append(svg("path", { d: own.path(rows.map(plot.X), error.map(plot.Y)), class: "curve" }));
      rows.forEach((r, i) => plot.root.append(svg("circle", { cx: plot.X(r), cy: plot.Y(error[i]), r: 4, class: "here" })));
      root.append(html("div", { class: "figures" }, plot.root));
    }
  }

  function losses(content, root) {
    const networks = content.history.losses;
    const watched = networks.some((n) => n.val_loss);
    const values = networks.flatMap((n) => [...n.loss, ...(n.val_loss || [])]).filter((v) => v !== null);
    const last = Math.max(...networks.map((n) => n.epoch[n.epoch.length - 1]));
    if (!values.length || last < 2) {
      root.append(html("p", {}, "There was one epoch: the model is fitted in one go."));
      return;
    }
    const least = Math.min(...values);
    const log = least > 0 && Math.max(...values) / least > 5;
    const [low, high] = log ? [least / 1.3, Math.max(...values) * 1.3] : own.extent(values);
    const best = (networks[0].val_loss || networks[0].loss).filter((v) => v !== null);
    const plot = own.figure({ width: 520, height: 280, x: { low: 1, high: last, name: "epoch" }, y: { low, high, name: "loss", log }, title: "losses by epoch", description: `losses of ${networks.length} networks by epoch; the smallest ${watched ? "on watched rows" : ""} is ${own.text(Math.min(...best), 0)}` });
    const draw = (n, key, kind) => {
      const at = n.epoch.map((e, i) => [e, n[key][i]]).filter(([, v]) => v !== null);
      if (at.length) plot.root.append(svg("path", { d: own.path(at.map(([e]) => plot.X(e)), at.map(([, v]) => plot.Y(v))), class: kind }));
    };
    for (const n of [...networks].reverse()) {
      draw(n, "loss", "loss-learnt");
      if (n.val_loss) draw(n, "val_loss", n === networks[0] ? "curve" : "loss-watched");
      else if (n === networks[0]) draw(n, "loss", "curve");
    }
    const said = watched ? "blue: the loss on rows that are watched and not learnt from, dark for the best network; grey: on those learnt from" : "grey: the loss on the rows learnt from, dark for the best network";
    root.append(html("div", { class: "figures" }, plot.root), html("p", { class: "legend" }, `${said}.`));
  }

  function trials(content, root) {
    const all = content.history.trials.filter((t) => t.score !== null && t.score !== undefined);
    if (!all.length) {
      root.append(html("p", {}, "There were no trials: nothing was tuned."));
      return;
    }
    const scores = all.map((t) => t.score);
    const log = Math.min(...scores) > 0 && Math.max(...scores) / Math.min(...scores) > 10;
    const [low, high] = log ? [Math.min(...scores) / 1.3, Math.max(...scores) * 1.3] : own.extent(scores);
    const ids = all.map((t) => t.id);
    const keys = Object.keys(all[0]).filter((k) => k.startsWith("hp."));
    const words = (i) => `trial ${ids[i]}: ${own.text(scores[i], 0)}; ${keys.map((k) => `${k.slice(3)} ${all[i][k]}`).join(", ")}`;
    const box = html("div", { class: "figures" });
    box.append(scatter({ xs: ids, ys: scores, x: { low: Math.min(...ids) - 0.5, high: Math.max(...ids) + 0.5, name: "trial" }, y: { low, high, name: content.history.score || "score", log }, title: "trials", description: `${all.length} trials, the best score ${own.text(Math.min(...scores), 0)}`, words }));
    const numeric = keys.filter((k) => new Set(all.map((t) => t[k])).size > 1 && all.every((t) => typeof t[k] === "number"));
    for (const key of numeric.slice(0, 3)) {
      const xs = all.map((t) => t[key]);
      const wide = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 20;
      const [a, b] = wide ? [Math.min(...xs) / 1.3, Math.max(...xs) * 1.3] : own.extent(xs);
      box.append(scatter({ xs, ys: scores, x: { low: a, high: b, name: key.slice(3), log: wide }, y: { low, high, name: content.history.score || "score", log }, title: `score over ${key.slice(3)}`, description: `score of each trial over ${key.slice(3)}`, words }));
    }
    root.append(box);
  }

  function starts(content, root) {
    const found = content.starts;
    if (!found) return;
    const after = found.after.map((v, i) => [found.before[i], v]).filter(([a, b]) => a !== null && b !== null);
    if (!after.length) return;
    after.sort((p, q) => p[1] - q[1]);
    const floor = 1e-6;
    const fine = (v) => (found.miss ? Math.max(v, floor) : v);
    const values = after.flat().map(fine);
    const log = found.miss;
    const [low, high] = log ? [Math.min(...values) / 2, Math.max(...values, floor * 10) * 2] : own.extent(values);
    const plot = own.figure({ width: 520, height: 260, x: { low: 0, high: after.length + 1, name: "starts, the best first" }, y: { low, high, name: found.miss ? "miss / range" : found.what, log }, title: "each start, before and after the search", description: `${after.length} starts before and after the search` });
    after.forEach(([before, end], i) => {
      const x = plot.X(i + 1);
      plot.root.append(svg("path", { d: `M${x} ${plot.Y(fine(before))}V${plot.Y(fine(end))}`, class: "step" }));
      plot.root.append(svg("circle", { cx: x, cy: plot.Y(fine(before)), r: 2, class: "before" }), svg("circle", { cx: x, cy: plot.Y(fine(end)), r: 2.6, class: "point" }));
    });
    root.append(html("div", { class: "figures" }, plot.root), html("p", { class: "legend" }, `light: where a start began; dark: where it ended.${log ? " A miss of 1e-6 or less is drawn at 1e-6." : ""}`));
  }

  Object.assign(own, { fit, influence, race, losses, trials, starts });
})(Invdesign);
