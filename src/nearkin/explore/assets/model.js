"use strict";
// What is shown: columns, filters, the selection, marks; and the link that restores it. Draws nothing.
(function (N) {
  const listeners = new Map();
  N.on = (name, run) => { if (!listeners.has(name)) listeners.set(name, []); listeners.get(name).push(run); };
  N.emit = (name, value) => (listeners.get(name) || []).forEach(run => run(value));
  N.el = (tag, options = {}, ...children) => {
    // Text is only ever set as text: names of files and classes are other people's.
    const e = document.createElement(tag);
    for (const [key, value] of Object.entries(options)) {
      if (key === "text") e.textContent = value; else if (key === "class") e.className = value;
      else if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
      else if (value !== undefined && value !== null && value !== false) e.setAttribute(key, value);
    }
    e.append(...children);
    return e;
  };
  N.$ = id => document.getElementById(id);
  N.number = v => !Number.isFinite(v) ? "unknown" : v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(4));

  const S = N.state = { space: 0, map: "", colour: "", point: -1, selection: [], filters: new Map(), n: 0, shown: null, marks: new Map() };
  const columns = new Map(); // key -> {key, title, groups, values, low, high}

  function keep(key, title, groups, values) {
    const column = { key, title, groups, values };
    if (!groups.length) {
      const known = Float32Array.from(values).filter(Number.isFinite).sort();
      column.low = known.length ? known[0] : 0; column.high = known.length ? known[known.length - 1] : 1;
      // Colours between the 1st and 99th percentile: one outlier would make all others look the same.
      column.from = known.length ? known[Math.floor(0.01 * (known.length - 1))] : 0; column.to = known.length ? known[Math.ceil(0.99 * (known.length - 1))] : 1;
    }
    columns.set(key, column);
    return column;
  }
  // Keys: "col:NAME", or "score:NAME@SPACE".
  N.column = async key => {
    if (columns.has(key)) return columns.get(key);
    if (key.startsWith("col:")) {
      const i = N.meta.columns.findIndex(c => c.name === key.slice(4));
      if (i < 0) throw new Error(`there is no column ${key.slice(4)}.`);
      return keep(key, N.meta.columns[i].name, N.meta.columns[i].groups, await N.source.column(i));
    }
    const [, name, space] = key.match(/^score:(\w+)@(.*)$/) || [], s = N.meta.spaces.findIndex(o => o.name === space);
    if (s < 0) throw new Error(`there is no score ${key}.`);
    const found = await N.busy(`computing ${N.meta.scores[name] || name}, ${N.meta.spaces[s].title}`, N.source.score(s, name));
    return keep(key, `${N.meta.scores[name]}, by ${N.meta.spaces[s].title}`, found.groups, found.values);
  };
  N.columnOf = key => columns.get(key);
  N.valueText = (column, row) => { const v = column.values[row]; return column.groups.length ? (Number.isFinite(v) ? column.groups[v] : "no label") : N.number(v); };
  N.classColumn = () => columns.get("col:class");

  // A filter is {hidden: Set of groups (-1: unknown)} or {low, high}; all must let a row pass.
  N.passes = row => {
    for (const [key, f] of S.filters) {
      const v = columns.get(key).values[row];
      if (f.hidden ? f.hidden.has(Number.isFinite(v) ? v : -1) : !(v >= f.low && v <= f.high)) return false;
    }
    return true;
  };
  N.refilter = () => {
    S.shown = new Uint8Array(S.n);
    let count = 0;
    for (let i = 0; i < S.n; i++) { S.shown[i] = N.passes(i) ? 1 : 0; count += S.shown[i]; }
    S.count = count;
    N.emit("filter"); N.saveLink();
  };

  N.MARKS = ["", "duplicate", "mislabelled", "keep"];
  N.mark = (rows, mark) => { for (const row of rows) if (mark) S.marks.set(row, mark); else S.marks.delete(row); N.emit("marks"); };

  // The link: only what differs from the start, by name, so that it also works in the exported page.
  let wait = 0, restoring = true;
  N.saveLink = () => {
    if (restoring) return;
    clearTimeout(wait);
    wait = setTimeout(() => {
      const q = new URLSearchParams({ e: N.meta.spaces[S.space].name, m: S.map, c: S.colour });
      if (S.point >= 0) q.set("p", N.meta.ids[S.point]);
      if (S.filters.size) q.set("f", JSON.stringify([...S.filters].map(([key, f]) => [key, f.hidden ? [...f.hidden] : { low: f.low, high: f.high }])));
      const view = N.plot.view();
      if (view) q.set("v", view.map(v => +v.toFixed(4)).join(","));
      try { history.replaceState(null, "", location.pathname + location.search + "#" + q); } catch { location.hash = String(q); }
    }, 150);
  };
  N.linkRead = () => { restoring = false; };
  N.readLink = () => {
    const q = new URLSearchParams(location.hash.slice(1)), out = { filters: [] };
    out.space = N.meta.spaces.findIndex(s => s.name === q.get("e"));
    out.map = q.get("m"); out.colour = q.get("c");
    out.point = q.get("p") === null ? -1 : N.meta.ids.indexOf(q.get("p"));
    const view = (q.get("v") || "").split(",").map(Number);
    out.view = view.length === 16 && view.every(Number.isFinite) ? view : null;
    try {
      for (const [key, f] of JSON.parse(q.get("f") || "[]")) {
        if (Array.isArray(f)) out.filters.push([String(key), { hidden: new Set(f.map(Number)) }]);
        else if (Number.isFinite(f.low) && Number.isFinite(f.high)) out.filters.push([String(key), { low: f.low, high: f.high }]);
      }
    } catch { out.filters = []; } // a link cut off on its way
    return out;
  };
})(globalThis.nearkin);
