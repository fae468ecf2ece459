"use strict";
// The map: points in WebGL (regl-scatterplot), rings for the selected image and its neighbours on a canvas above.
(function (N) {
  const PALETTE = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#FFBB88", "#99CCBB", "#AA88FF", "#7733CC", "#5500FF", "#882255", "#999933", "#BB5500", "#0099BB", "#667722"];
  const RAMP = ["#440154", "#443983", "#31688E", "#21918C", "#35B779", "#90D743", "#FDE725"], BINS = 48;
  const css = name => { const v = getComputedStyle(document.documentElement).getPropertyValue(name).trim(); return v.length === 4 ? "#" + [...v.slice(1)].map(c => c + c).join("") : v; };
  const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  const hex = parts => "#" + parts.map(v => Math.round(v).toString(16).padStart(2, "0")).join("");
  N.ramp = t => { const u = Math.max(0, Math.min(1, t)), x = (dark() ? 0.12 + 0.88 * u : u) * (RAMP.length - 1), i = Math.min(RAMP.length - 2, Math.floor(x)), a = rgb(RAMP[i]), b = rgb(RAMP[i + 1]); return hex(a.map((v, k) => v + (x - i) * (b[k] - v))); };
  const dark = () => parseInt(css("--bg").slice(1, 3), 16) < 128; // the darkest violet cannot be seen on black
  N.groupColour = k => k < 0 ? css("--dim") : PALETTE[k % PALETTE.length];

  const stage = N.$("stage"), canvas = N.$("plot"), rings = N.$("rings");
  let plot = null, coords = null, rows = new Int32Array(0), place = new Int32Array(0), near = [], busyDraw = Promise.resolve();

  function start() {
    if (!document.createElement("canvas").getContext("webgl")) throw new Error("this browser offers no WebGL, which the map needs.");
    plot = vendored.createScatterplot({ canvas, width: "auto", height: "auto", mouseMode: "panZoom", deselectOnDblClick: false, deselectOnEscape: false, showReticle: false, pointSizeSelected: 3, pointOutlineWidth: 2, lassoOnLongPress: false, opacityInactiveScale: 1 });
    plot.subscribe("select", ({ points }) => N.choose(points.map(i => rows[i]), true));
    plot.subscribe("deselect", () => N.choose([], true));
    plot.subscribe("pointOver", i => N.emit("over", rows[i]));
    plot.subscribe("pointOut", () => N.emit("over", -1));
    plot.subscribe("view", () => { drawRings(); N.saveLink(); });
    plot.subscribe("lassoEnd", () => N.plot.mode(false));
    new ResizeObserver(() => { drawRings(); }).observe(stage);
  }
  function paint() {
    const c = N.columnOf(N.state.colour), z = new Float32Array(rows.length);
    let colours;
    if (!c) colours = [css("--accent")];
    else if (c.groups.length) {
      colours = c.groups.map((_, k) => N.groupColour(k)).concat(css("--dim"));
      rows.forEach((row, i) => { const v = c.values[row]; z[i] = Number.isFinite(v) ? v : c.groups.length; });
    } else {
      colours = Array.from({ length: BINS }, (_, k) => N.ramp(k / (BINS - 1))).concat(css("--line"));
      const span = c.to - c.from || 1;
      rows.forEach((row, i) => { const v = c.values[row]; z[i] = Number.isFinite(v) ? Math.max(0, Math.min(BINS - 1, Math.round((v - c.from) / span * (BINS - 1)))) : BINS; });
    }
    return { z, colours };
  }
  async function draw() {
    const n = rows.length, x = new Float32Array(n), y = new Float32Array(n), { z, colours } = paint();
    const fit = Math.min(1, stage.clientWidth / Math.max(1, stage.clientHeight)); // the height is always [-1, 1]
    rows.forEach((row, i) => { x[i] = fit * coords[2 * row]; y[i] = fit * coords[2 * row + 1]; });
    await plot.set({ backgroundColor: css("--bg"), colorBy: "valueA", pointColor: colours, pointColorActive: css("--fg"), pointColorHover: css("--accent"), lassoColor: css("--accent"), pointSize: n < 1500 ? 7 : n < 6000 ? 5 : n < 20000 ? 3.5 : 2.5, opacity: n < 6000 ? 0.85 : n < 20000 ? 0.75 : 0.6 });
    await plot.draw({ x: Array.from(x), y: Array.from(y), z: Array.from(z) }, { zDataType: "categorical" });
    await filter();
    drawRings();
  }
  async function filter() {
    if (!plot || !rows.length) return;
    const passing = [];
    for (let i = 0; i < rows.length; i++) if (N.state.shown[rows[i]]) passing.push(i);
    if (passing.length === rows.length) await plot.unfilter({ preventEvent: true });
    else await plot.filter(passing, { preventEvent: true });
    drawRings();
  }
  function colour(row) {
    const c = N.columnOf(N.state.colour), v = c ? c.values[row] : NaN;
    if (!c) return css("--accent");
    if (c.groups.length) return N.groupColour(Number.isFinite(v) ? v : -1);
    return Number.isFinite(v) ? N.ramp((v - c.from) / (c.to - c.from || 1)) : css("--line");
  }
  function drawRings() {
    N.emit("drawn");
    const w = stage.clientWidth, h = stage.clientHeight, scale = devicePixelRatio || 1;
    if (rings.width !== w * scale || rings.height !== h * scale) { rings.width = w * scale; rings.height = h * scale; }
    const c = rings.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0); c.clearRect(0, 0, w, h);
    rings.hidden = !plot || N.state.point < 0 && !near.length; // hidden, not only cleared: some browsers show a cleared canvas late
    if (rings.hidden) return;
    const at = row => row >= 0 && place[row] >= 0 ? plot.getScreenPosition(place[row]) : undefined;
    const ring = (p, r, colour, wide) => { c.beginPath(); c.arc(p[0], p[1], r, 0, 7); c.lineWidth = wide + 2; c.strokeStyle = css("--bg"); c.stroke(); c.lineWidth = wide; c.strokeStyle = colour; c.stroke(); };
    const own = at(N.state.point);
    c.globalAlpha = 0.55;
    for (const row of near) { const p = at(row); if (p && own) { c.beginPath(); c.moveTo(own[0], own[1]); c.lineTo(p[0], p[1]); c.lineWidth = 1; c.strokeStyle = css("--fg"); c.stroke(); } }
    c.globalAlpha = 1;
    for (const row of near) { const p = at(row); if (p) ring(p, 6, css("--fg"), 1.5); }
    if (own) ring(own, 9, css("--accent"), 3);
  }
  // One drawing after another: the library does not like two at once.
  const queue = run => busyDraw = busyDraw.then(run).catch(error => N.say(error.message, true));

  N.plot = {
    start,
    show: found => {
      coords = found.coords; const n = N.state.n, list = [];
      place = new Int32Array(n).fill(-1);
      for (let i = 0; i < n; i++) if (Number.isFinite(coords[2 * i])) { place[i] = list.length; list.push(i); }
      rows = Int32Array.from(list);
      return queue(draw);
    },
    repaint: () => coords ? queue(draw) : busyDraw,
    filter: () => queue(filter),
    select: chosen => queue(async () => { const ids = chosen.map(row => place[row]).filter(i => i >= 0); if (ids.length) plot.select(ids, { preventEvent: true }); else plot.deselect({ preventEvent: true }); drawRings(); }),
    // Many selected points stand out by fading the others; one has a ring, and its surroundings matter.
    dim: fade => queue(async () => { await plot.set({ opacityInactiveScale: fade ? 0.3 : 1 }); }),
    neighbours: list => { near = list; drawRings(); },
    mode: lasso => { plot.set({ mouseMode: lasso ? "lasso" : "panZoom" }); N.$("lasso").setAttribute("aria-pressed", lasso); N.$("pan").setAttribute("aria-pressed", !lasso); },
    reset: () => queue(async () => { await plot.reset(); drawRings(); }),
    view: () => plot ? Array.from(plot.get("cameraView")) : null,
    setView: view => queue(async () => { plot.view(view, { preventEvent: true }); drawRings(); }),
    inView: () => plot.get("pointsInView").map(i => rows[i]),
    colour,
    onMap: row => place[row] >= 0,
    count: () => rows.length,
    position: row => place[row] >= 0 ? plot.getScreenPosition(place[row]) : undefined,
    redraw: drawRings,
  };
})(globalThis.nearkin);
