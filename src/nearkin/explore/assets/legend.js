"use strict";
// The legend is the filter: groups are switched off and on, numbers are cut at both ends.
(function (N) {
  const { el, $ } = N, S = N.state;
  const current = () => N.columnOf(S.colour);

  function set(key, filter) {
    if (filter) S.filters.set(key, filter); else S.filters.delete(key);
    N.refilter();
  }
  function toggle(c, group, alone) {
    const all = [...c.groups.keys(), -1], old = S.filters.get(c.key), hidden = new Set(old ? old.hidden : []);
    if (alone) {
      const only = all.filter(k => !hidden.has(k)).length === 1 && !hidden.has(group);
      hidden.clear(); if (!only) all.forEach(k => k !== group && hidden.add(k));
    } else if (hidden.has(group)) hidden.delete(group); else hidden.add(group);
    set(c.key, hidden.size ? { hidden } : null);
  }
  function groups(box, c) {
    const counts = new Map();
    for (const v of c.values) { const k = Number.isFinite(v) ? v : -1; counts.set(k, (counts.get(k) || 0) + 1); }
    const f = S.filters.get(c.key), names = [...c.groups.entries()];
    if (counts.get(-1)) names.push([-1, "no label"]);
    for (const [k, name] of names) {
      const swatch = el("span", { class: "sw" });
      swatch.style.background = N.groupColour(k);
      box.append(el("button", { class: "key", type: "button", "aria-pressed": String(!(f && f.hidden && f.hidden.has(k))), title: "Click: hide or show. Alt + click: only this",
        onclick: e => toggle(c, k, e.altKey) }, swatch, el("span", { class: "name", text: name }), el("span", { class: "count", text: String(counts.get(k) || 0) })));
    }
    if (c.groups.length > 1) box.append(el("p", { class: "dim", text: "Alt + click: only this one" }));
  }
  function histogram(c) {
    const canvas = el("canvas", { class: "bar", width: 384, height: 112, "aria-hidden": "true" }), g = canvas.getContext("2d"), whole = c.values.every(v => !Number.isFinite(v) || Number.isInteger(v)) && c.high - c.low < 48, bins = whole ? c.high - c.low + 1 : 48, wide = 384 / bins;
    const counts = new Float64Array(bins), span = (whole ? bins : c.high - c.low) || 1;
    for (const v of c.values) if (Number.isFinite(v)) counts[Math.min(bins - 1, Math.floor((v - c.low) / span * bins))]++;
    const top = Math.max(...counts) || 1;
    counts.forEach((n, k) => {
      const v = c.low + (k + .5) / bins * span, h = n ? Math.max(3, n / top * 108) : 0;
      g.fillStyle = N.ramp((v - c.from) / (c.to - c.from || 1)); g.fillRect(k * wide, 112 - h, wide - 1, h);
    });
    return canvas;
  }
  function numbers(box, c) {
    const f = S.filters.get(c.key) || { low: c.low, high: c.high }, span = c.high - c.low || 1, ends = el("div", { class: "ends" });
    const text = (a, b) => { ends.replaceChildren(el("span", { text: N.number(a) }), el("span", { text: N.number(b) })); };
    const slider = (value, name) => el("input", { type: "range", min: 0, max: 1000, value: Math.round((value - c.low) / span * 1000), "aria-label": `${name} of ${c.title}` });
    const low = slider(f.low, "least"), high = slider(f.high, "most");
    const value = input => c.low + input.value / 1000 * span;
    const change = () => {
      const a = +low.value <= 0 ? c.low : value(low), b = +high.value >= 1000 ? c.high : value(high);
      text(Math.min(a, b), Math.max(a, b));
      clearTimeout(change.wait);
      change.wait = setTimeout(() => set(c.key, a <= c.low && b >= c.high ? null : { low: Math.min(a, b), high: Math.max(a, b) }), 60);
    };
    low.addEventListener("input", change); high.addEventListener("input", change);
    text(f.low, f.high);
    box.append(histogram(c), ends, el("label", { class: "range" }, "from", low), el("label", { class: "range" }, "to", high));
  }
  function draw() {
    const c = current(), box = $("legend");
    box.replaceChildren();
    $("legend-title").textContent = c ? c.title : "Legend";
    if (!c) return;
    if (c.groups.length) groups(box, c); else numbers(box, c);
  }
  function filters() {
    const box = $("filters");
    box.replaceChildren();
    for (const [key, f] of S.filters) {
      const c = N.columnOf(key);
      const what = f.hidden ? `${f.hidden.size} hidden` : `${N.number(f.low)} to ${N.number(f.high)}`;
      box.append(el("div", { class: "filter" }, el("span", { text: `${c.title}: ${what}` }), el("button", { type: "button", text: "Clear", onclick: () => set(key, null) })));
    }
    if (S.filters.size) box.prepend(el("h2", { text: "Filters" }));
  }
  N.on("colour", draw);
  N.on("filter", () => { filters(); if (current() && current().groups.length) draw(); else if (current() && !S.filters.has(S.colour)) draw(); });
  N.on("theme", draw);
})(globalThis.nearkin);
