"use strict";
// Starts the page and connects its controls, keys and the drop of files.
(function (N) {
  const { el, $ } = N, S = N.state, root = document.documentElement;
  let jobs = 0;

  N.say = (text, bad) => { const s = $("status"); s.textContent = text; s.className = bad ? "bad" : ""; if (bad) console.warn(text); };
  N.busy = async (text, promise) => {
    jobs++; const box = $("busy"); box.textContent = text + " ..."; box.hidden = false;
    try { return await promise; } finally { if (!--jobs) box.hidden = true; }
  };
  function status() {
    const note = S.note ? ` ${S.note}.` : "", filtered = S.count < S.n ? `${S.count.toLocaleString("en")} of ${S.n.toLocaleString("en")} images pass the filters.` : `${S.n.toLocaleString("en")} images.`;
    N.say(`${filtered} ${N.meta.map_names[S.map] || S.map}:${note || " drawn."}`);
  }
  // rows: none, one (its neighbours are shown) or many. fromPlot: the plot shows them as selected already.
  N.choose = (rows, fromPlot) => {
    S.point = rows.length === 1 ? rows[0] : -1;
    S.selection = rows.length > 1 ? rows : [];
    N.plot.dim(rows.length > 1);
    if (!fromPlot) N.plot.select(rows);
    N.plot.neighbours([]); N.emit("selection"); N.saveLink();
  };
  async function showMap() {
    try {
      const name = N.meta.map_names[S.map] || S.map, title = N.meta.spaces[S.space].title;
      const found = await N.busy(`${name} of ${title}`, N.source.map(S.space, S.map));
      S.note = N.meta.spaces[S.space].maps[S.map] = found.note;
      const option = [...$("map").options].find(o => o.value === S.map);
      if (option) option.textContent = name; // no longer "(compute)"
      await N.plot.show(found);
      const rows = S.point >= 0 ? [S.point] : S.selection;
      if (rows.length) N.plot.select(rows);
      status(); N.saveLink();
    } catch (error) { N.say(error.message, true); }
  }
  function fillMaps() {
    const s = N.meta.spaces[S.space], kinds = N.source.isStatic ? Object.keys(s.maps) : [...new Set([...Object.keys(s.maps), "tsne", "pca"])];
    const order = ["table", "tsne", "pca"];
    kinds.sort((a, b) => order.indexOf(a) - order.indexOf(b));
    if (!kinds.includes(S.map) || !(S.map in s.maps)) S.map = s.first;
    $("map").replaceChildren(...kinds.map(k => el("option", { value: k, text: `${N.meta.map_names[k] || k}${k in s.maps || k === "pca" ? "" : " (compute)"}` })));
    $("map").value = S.map;
  }
  function fillColours() {
    const own = el("optgroup", { label: "Columns" }), made = el("optgroup", { label: `By ${N.meta.spaces[S.space].title}` });
    N.meta.columns.forEach(c => own.append(el("option", { value: "col:" + c.name, text: c.name })));
    Object.keys(N.meta.scores).forEach(name => made.append(el("option", { value: `score:${name}@${N.meta.spaces[S.space].name}`, text: N.meta.scores[name] })));
    $("colour").replaceChildren(el("option", { value: "", text: "none" }), own, made);
    $("colour").value = S.colour;
  }
  async function setColour(key) {
    const before = S.colour;
    try { if (key) await N.column(key); S.colour = key; } catch (error) { N.say(error.message, true); S.colour = before; $("colour").value = before; return; }
    $("colour").value = key;
    N.emit("colour"); await N.plot.repaint(); N.saveLink();
    if (S.point >= 0) N.emit("selection");
  }
  async function setSpace(k) {
    S.space = k; $("space").value = k;
    fillMaps();
    const score = S.colour.match(/^score:(\w+)@/);
    fillColours();
    await showMap();
    if (score) await setColour(`score:${score[1]}@${N.meta.spaces[k].name}`);
    else if (S.point >= 0) N.emit("selection");
  }
  function step(by) {
    const list = S.selection.length ? S.selection : null, pass = row => S.shown[row] && N.plot.onMap(row);
    let row = S.point;
    if (list && row < 0) { N.choose([list[0]]); return; }
    for (let i = 0; i < S.n; i++) { row = (row + by + S.n) % S.n; if (pass(row)) { N.choose([row]); return; } }
  }
  function theme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    N.emit("theme"); N.plot.repaint();
  }
  async function copyLink() {
    const b = $("link");
    try { await navigator.clipboard.writeText(location.href); b.textContent = "Copied"; } catch { b.textContent = "See the address bar"; }
    setTimeout(() => { b.textContent = "Copy link"; }, 1500);
  }
  function find() {
    const text = $("find").value.trim();
    if (!text) return;
    const i = N.meta.ids.indexOf(text), row = i >= 0 ? i : N.meta.ids.findIndex(id => id.toLowerCase().includes(text.toLowerCase()));
    if (row >= 0) N.choose([row]); else N.say(`no id contains ${text}`, true);
  }
  const KEYS = [
    ["Arrow keys", "previous or next image (that passes the filters)", { ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1), ArrowUp: () => step(-1) }],
    ["n", "go to the nearest image in this embedding", { n: () => S.near && S.near.length && S.point >= 0 && N.choose([S.near[0]]) }],
    ["e", "next embedding", { e: () => setSpace((S.space + 1) % N.meta.spaces.length) }],
    ["1, 2, 3, 0", "mark as duplicate, mislabelled, keep; remove the mark", Object.fromEntries([0, 1, 2, 3].map(m => [String(m), () => { const rows = S.point >= 0 ? [S.point] : S.selection; if (rows.length) N.mark(rows, m); }]))],
    ["l", "lasso on or off (Shift + drag at any time)", { l: () => N.plot.mode($("lasso").getAttribute("aria-pressed") !== "true") }],
    ["/", "find an id", { "/": () => $("find").focus() }],
    ["r", "whole map", { r: () => N.plot.reset() }],
    ["t", "light or dark", { t: theme }],
    ["Esc", "select nothing", { Escape: () => N.choose([]) }],
    ["?", "this list", { "?": () => $("help").showModal() }],
  ];
  const actions = Object.assign({}, ...KEYS.map(([, , map]) => map));
  function keys(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || $("help").open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) { if (e.key === "Escape") e.target.blur(); return; }
    if (actions[e.key]) { e.preventDefault(); actions[e.key](); }
  }
  function dropping() {
    const sign = $("drop"), searchable = () => N.meta.spaces.some(s => s.searchable);
    let depth = 0;
    const files = e => [...(e.dataTransfer ? e.dataTransfer.types : [])].includes("Files");
    addEventListener("dragenter", e => { if (!files(e)) return; e.preventDefault(); depth++; sign.textContent = searchable() ? "Drop an image to search with it" : N.source.isStatic ? "Searching with a file needs the server: nearkin explore without --export" : "Searching with a file needs a run with weights: start with --run FOLDER"; sign.hidden = false; });
    addEventListener("dragleave", e => { if (files(e) && --depth <= 0) { depth = 0; sign.hidden = true; } });
    addEventListener("dragover", e => { if (files(e)) e.preventDefault(); });
    addEventListener("drop", e => {
      if (!files(e)) return;
      e.preventDefault(); depth = 0; sign.hidden = true;
      const file = e.dataTransfer.files[0];
      if (!file) return;
      if (!searchable()) { N.say(sign.textContent, true); return; }
      S.point = -1; S.selection = []; N.plot.select([]); N.showDropped(file);
    });
  }
  function connect() {
    $("space").addEventListener("change", e => setSpace(+e.target.value));
    $("map").addEventListener("change", e => { S.map = e.target.value; showMap(); });
    $("colour").addEventListener("change", e => setColour(e.target.value));
    $("find").addEventListener("change", find);
    $("find").addEventListener("input", e => { const t = e.target.value.toLowerCase(); $("found").replaceChildren(...(t.length > 1 ? N.meta.ids.filter(id => id.toLowerCase().includes(t)).slice(0, 12) : []).map(id => el("option", { value: id }))); });
    $("pan").addEventListener("click", () => N.plot.mode(false));
    $("lasso").addEventListener("click", () => N.plot.mode($("lasso").getAttribute("aria-pressed") !== "true"));
    $("reset").addEventListener("click", () => N.plot.reset());
    $("theme").addEventListener("click", theme);
    $("link").addEventListener("click", copyLink);
    $("help-open").addEventListener("click", () => $("help").showModal());
    $("keys").append(...KEYS.flatMap(([key, what]) => [el("dt", { text: key }), el("dd", { text: what })]));
    matchMedia("(prefers-color-scheme:dark)").addEventListener("change", () => { N.emit("theme"); N.plot.repaint(); });
    addEventListener("keydown", keys);
    addEventListener("resize", () => N.plot.redraw());
    N.on("filter", () => { N.plot.filter(); status(); });
    dropping();
  }
  async function begin() {
    N.meta = await N.source.meta();
    S.n = N.meta.ids.length; S.count = S.n; S.shown = new Uint8Array(S.n).fill(1);
    document.title = `${N.meta.title}, nearkin`; $("title").textContent = N.meta.title; $("title").title = N.meta.title;
    $("space").replaceChildren(...N.meta.spaces.map((s, k) => el("option", { value: k, text: `${s.title} (${s.dim})` })));
    $("notes").append(...N.meta.notes.map(text => el("li", { text })));
    N.plot.start(); connect();
    // Columns are small (4 bytes per image): all of them, so that the panel can name every value.
    await Promise.all(N.meta.columns.map(c => N.column("col:" + c.name)));
    const link = N.readLink();
    S.space = Math.max(0, link.space); S.map = link.map && (link.map in N.meta.spaces[S.space].maps || !N.source.isStatic && link.map in N.meta.map_names && link.map !== "table") ? link.map : "";
    $("space").value = S.space;
    for (const [key, filter] of link.filters) { try { await N.column(key); S.filters.set(key, filter); } catch (error) { console.warn(error.message); } }
    const wanted = S.map; fillMaps(); if (wanted) { S.map = wanted; $("map").value = wanted; }
    fillColours();
    const first = N.meta.columns.length ? "col:" + N.meta.columns[0].name : "";
    S.colour = "";
    await setColour(link.colour !== null && [...$("colour").options].some(o => o.value === link.colour) ? link.colour : first);
    if (S.filters.size) N.refilter();
    N.loadMarks();
    await showMap();
    if (link.view) await N.plot.setView(link.view);
    N.choose(link.point >= 0 ? [link.point] : []);
    N.linkRead();
    root.dataset.ready = "1";
  }
  begin().catch(error => { N.say(error.message, true); });
})(globalThis.nearkin);
